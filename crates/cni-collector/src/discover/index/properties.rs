//! Ten thousand rounds of anything that watches can bring, beside a model of what the index should show.

use std::collections::BTreeSet;

use super::*;

#[derive(Clone)]
struct Model {
    uid: String,
    node: Option<String>,
    running: bool,
    deleting: bool,
    spec: u64,
}

/// The index, the model, and a source of values that never come again.
struct World {
    index: Index,
    pods: BTreeMap<String, Model>,
    nodes: BTreeMap<String, u64>,
    random: fastrand::Rng,
    serial: u64,
    most_pods: usize,
}

fn labels(number: u64) -> NodeLabels {
    NodeLabels { node_group: Some(Arc::from(format!("group-{number}"))), ..NodeLabels::default() }
}

fn kept(name: &str, model: &Model) -> Pod {
    let image = format!("cni:v1.0.{}", model.spec % 1000).into();
    let env = Box::from([("SERIAL".into(), model.spec.to_string().into())]);
    Pod {
        uid: PodUid::new(model.uid.as_str()),
        name: Arc::from(name),
        node: model.node.as_deref().map(Arc::from),
        ip: None,
        running: model.running,
        deleting: model.deleting,
        created_at: None,
        agent: Arc::new(AgentSpec { image, env }),
        restarts: 0,
        is_ready: None,
    }
}

impl World {
    /// Most values are shared, some are new each time, so that sets which are never dropped show.
    fn value(&mut self) -> u64 {
        self.serial += 1;
        if self.random.bool() { self.random.u64(0..3) } else { self.serial }
    }

    fn model(&mut self) -> Model {
        self.serial += 1;
        Model {
            // Now and then a UID that another pod may have.
            uid: if self.random.u8(..) < 8 { "twice".to_owned() } else { format!("uid-{}", self.serial) },
            node: (self.random.u8(..) > 8).then(|| format!("node-{}", self.random.u32(0..300))),
            running: self.random.u8(..) > 16,
            deleting: self.random.u8(..) < 16,
            spec: self.value(),
        }
    }

    fn name(&mut self) -> String {
        format!("pod-{}", self.random.usize(0..self.most_pods))
    }

    fn event(&mut self) {
        match self.random.u32(0..100) {
            0 => self.relist_pods(),
            1 => self.relist_nodes(),
            2..40 => {
                let (name, model) = (self.name(), self.model());
                self.index.apply_pod(self.index.shared(kept(&name, &model)));
                self.pods.insert(name, model);
            }
            40..70 => {
                let name = self.name();
                self.index.remove_pod(&name);
                self.pods.remove(&name);
            }
            70..90 => {
                let (node, number) = (format!("node-{}", self.random.u32(0..300)), self.value());
                self.index.apply_node(
                    node.as_str().into(),
                    labels(number),
                    InstanceId::default(),
                    NodeStatus::default(),
                );
                self.nodes.insert(node, number);
            }
            _ => {
                let node = format!("node-{}", self.random.u32(0..300));
                self.index.remove_node(&node);
                self.nodes.remove(&node);
            }
        }
    }

    /// A new list: another population, in part the same.
    fn relist_pods(&mut self) {
        let wanted = self.random.usize(0..=self.most_pods);
        let mut pods: BTreeMap<String, Model> = self
            .pods
            .iter()
            .filter(|_| self.random.bool())
            .map(|(name, model)| (name.clone(), model.clone()))
            .collect();
        while pods.len() < wanted / 2 {
            pods.insert(self.name(), self.model());
        }
        let mut listed = BTreeMap::new();
        for (name, model) in &pods {
            let pod = self.index.shared(kept(name, model));
            listed.insert(Arc::clone(&pod.name), pod);
        }
        self.index.replace_pods(listed);
        self.pods = pods;
    }

    fn relist_nodes(&mut self) {
        let nodes: BTreeMap<String, u64> =
            self.nodes.iter().filter(|_| self.random.bool()).map(|(name, number)| (name.clone(), *number)).collect();
        let kept = |(name, number): (&String, &u64)| {
            (
                Box::from(name.as_str()),
                self.index.shared_node(labels(*number), InstanceId::default(), NodeStatus::default()),
            )
        };
        self.index.replace_nodes(nodes.iter().map(kept).collect());
        self.nodes = nodes;
    }

    /// What a round should ask.
    fn expected(&self) -> Vec<(String, String, NodeLabels)> {
        let mut uids = BTreeSet::new();
        let targets = self.pods.iter().filter(|(_, model)| model.running && !model.deleting);
        let targets = targets.filter_map(|(name, model)| Some((name, model, model.node.as_ref()?)));
        targets
            .filter(|(_, model, _)| uids.insert(model.uid.clone()))
            .map(|(name, model, node)| {
                let labels = self.nodes.get(node).map(|number| labels(*number)).unwrap_or_default();
                (name.clone(), model.uid.clone(), labels)
            })
            .collect()
    }

    fn check(&self, round: u32) {
        let (targets, pods) = self.index.targets();
        let shown: Vec<(String, String, NodeLabels)> = targets
            .iter()
            .map(|(pod, target)| (pod.name.to_string(), target.uid.to_string(), NodeLabels::clone(&target.labels)))
            .collect();
        assert_eq!(shown, self.expected(), "round {round}");
        assert_eq!((pods, self.index.labelled_nodes()), (self.pods.len(), self.nodes.len()), "round {round}");
        for (pod, _) in &targets {
            let serial = self.pods[&*pod.name].spec.to_string();
            assert_eq!(pod.agent.env("SERIAL"), Some(serial.as_str()), "round {round}");
        }
    }

    fn sets(&self) -> (usize, usize) {
        let tables = self.index.read();
        (tables.agents.len(), tables.label_sets.len())
    }
}

#[test]
fn any_sequence_of_events_shows_what_the_cluster_is_and_keeps_nothing_else() {
    let mut world = World {
        index: Index::default(),
        pods: BTreeMap::new(),
        nodes: BTreeMap::new(),
        random: fastrand::Rng::with_seed(11),
        serial: 10,
        most_pods: 1,
    };
    for round in 0..10_000 {
        // Populations of 40 to 400 pods, then of one, then of many again.
        if round % 500 == 0 {
            world.most_pods = if world.random.u8(..) < 64 { 1 } else { world.random.usize(40..400) };
        }
        for _ in 0..world.random.usize(0..20) {
            world.event();
        }
        world.check(round);
        let (agents, label_sets) = world.sets();
        assert!(agents <= 2 * (400 + 400) + 64, "round {round}: {agents}");
        assert!(label_sets <= 2 * (300 + 300) + 64, "round {round}: {label_sets}");
        if round % 100 == 99 {
            world.relist_pods();
            world.relist_nodes();
            let (agents, label_sets) = world.sets();
            let specs: BTreeSet<u64> = world.pods.values().map(|model| model.spec).collect();
            let numbers: BTreeSet<u64> = world.nodes.values().copied().collect();
            assert_eq!(
                (agents, label_sets),
                (specs.len(), numbers.len()),
                "round {round}: what is used is kept, and no more"
            );
        }
    }
    assert!(world.serial > 50_000, "enough values that never came again: {}", world.serial);
}
