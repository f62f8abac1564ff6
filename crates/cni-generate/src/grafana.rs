//! Grafana dashboards: of the helper's Prometheus output, and of aws-node's own pages for those who scrape these.

mod aws_node;
mod helper;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::target::Target;
use super::{Artifact, Output};

/// Grafana lays panels out on 24 columns.
const COLUMNS: u32 = 24;

#[derive(Debug, Clone, Args)]
pub(super) struct GrafanaArgs {
    /// Whose metrics the data source holds
    #[arg(long = "for", value_enum, value_name = "WHOSE", default_value = "helper")]
    whose: Whose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// This helper's, scraped from port 61681
    Helper,
    /// Each aws-node pod's own, scraped from port 61678
    AwsNode,
}

pub(super) fn make(target: &Target, args: &GrafanaArgs) -> anyhow::Result<Output> {
    ensure!(
        target.cluster_id().is_none(),
        "--cluster-id has no meaning for a Grafana dashboard: Prometheus' figures carry no cluster's name, so the same \
         board serves every cluster, and its variable \"Data source\" chooses among their Prometheus servers"
    );
    let (name, board) = match args.whose {
        Whose::Helper => ("grafana-dashboard.json", helper::board()),
        Whose::AwsNode => ("grafana-dashboard-aws-node.json", aws_node::board()),
    };
    Ok(Output::one(Artifact::json(name, &board.body())?))
}

/// A dashboard, laid out panel after panel from the top left.
struct Board {
    uid: &'static str,
    title: &'static str,
    variables: Vec<Value>,
    panels: Vec<Panel>,
}

/// A panel: what it is called, how it is drawn, what it asks for.
struct Panel {
    kind: &'static str,
    title: &'static str,
    width: u32,
    height: u32,
    options: Value,
    defaults: Value,
    /// Expressions with their legends.
    queries: Vec<(&'static str, &'static str)>,
    /// The answer at the end of the range only.
    instant: bool,
}

impl Panel {
    /// One number.
    fn number(title: &'static str, unit: &str, expr: &'static str) -> Self {
        Self {
            options: json!({ "reduceOptions": { "calcs": ["lastNotNull"] } }),
            ..Self::new("stat", title, 4, 4, unit, vec![(expr, "")])
        }
    }

    /// Lines over time, half as wide as the board.
    fn lines(title: &'static str, unit: &str, queries: Vec<(&'static str, &'static str)>) -> Self {
        Self {
            options: json!({ "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } }),
            ..Self::new("timeseries", title, COLUMNS / 2, 8, unit, queries)
        }
    }

    /// One bar a series, as of now.
    fn bars(title: &'static str, unit: &str, expr: &'static str, legend: &'static str) -> Self {
        Self {
            options: json!({ "displayMode": "gradient", "orientation": "horizontal", "reduceOptions": { "calcs": ["lastNotNull"] } }),
            instant: true,
            ..Self::new("bargauge", title, COLUMNS / 2, 8, unit, vec![(expr, legend)])
        }
    }

    /// One row a series, coloured over time: a heat map by name.
    fn rows(title: &'static str, unit: &str, expr: &'static str, legend: &'static str) -> Self {
        let mut panel = Self::new("status-history", title, COLUMNS, 10, unit, vec![(expr, legend)]);
        panel.options = json!({ "rowHeight": 0.9, "showValue": "never", "legend": { "showLegend": false } });
        panel.defaults["color"] = json!({ "mode": "continuous-GrYlRd" });
        panel
    }

    fn new(
        kind: &'static str,
        title: &'static str,
        width: u32,
        height: u32,
        unit: &str,
        queries: Vec<(&'static str, &'static str)>,
    ) -> Self {
        let mut defaults = json!({ "unit": unit, "min": 0 });
        if unit == "percentunit" {
            defaults["max"] = json!(1);
            defaults["color"] = json!({ "mode": "thresholds" });
            defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
                { "color": "green", "value": null }, { "color": "orange", "value": 0.85 }, { "color": "red", "value": 0.95 },
            ] });
        }
        Self { kind, title, width, height, options: json!({}), defaults, queries, instant: false }
    }

    /// High is good: coverage.
    fn with_red_below(mut self, least: f64) -> Self {
        self.defaults["thresholds"] = json!({ "mode": "absolute", "steps": [
            { "color": "red", "value": null }, { "color": "green", "value": least },
        ] });
        self
    }

    fn body(&self, id: u32, x: u32, y: u32) -> Value {
        let targets: Vec<Value> = (b'A'..)
            .zip(&self.queries)
            .map(|(letter, (expr, legend))| {
                json!({
                    "refId": char::from(letter).to_string(), "datasource": datasource(), "expr": expr,
                    "legendFormat": legend, "instant": self.instant, "range": !self.instant,
                })
            })
            .collect();
        json!({
            "id": id, "type": self.kind, "title": self.title, "datasource": datasource(),
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height },
            "options": self.options,
            "fieldConfig": { "defaults": self.defaults, "overrides": [] },
            "targets": targets,
        })
    }
}

impl Board {
    fn body(&self) -> Value {
        let mut variables = vec![json!({
            "name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
        })];
        variables.extend(self.variables.iter().cloned());
        json!({
            "uid": self.uid, "title": self.title, "tags": ["kubernetes", "aws", "vpc-cni"],
            "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m", "timezone": "browser",
            "time": { "from": "now-6h", "to": "now" },
            "templating": { "list": variables },
            "panels": self.laid_out(),
        })
    }

    /// Left to right; a panel that does not fit begins a row.
    fn laid_out(&self) -> Vec<Value> {
        let (mut x, mut y, mut row_height) = (0, 0, 0);
        let mut bodies = Vec::with_capacity(self.panels.len());
        for (id, panel) in (1_u32..).zip(&self.panels) {
            if x + panel.width > COLUMNS {
                (x, y, row_height) = (0, y + row_height, 0);
            }
            bodies.push(panel.body(id, x, y));
            x += panel.width;
            row_height = row_height.max(panel.height);
        }
        bodies
    }
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A variable whose values are those of a label.
fn label_values(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(),
        "query": { "query": query, "refId": "variable" }, "refresh": 2, "sort": 1,
        "includeAll": true, "multi": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
    })
}
