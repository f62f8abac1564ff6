//! A complete sink: each round as one line of JSON in a file.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use cni_metrics_core::model::UnixMillis;
use cni_publish::stats::DropReason;
use cni_publish::{Published, Selection, Sink, Stats};
use futures::future::BoxFuture;
use tokio::{fs, io, io::AsyncWriteExt as _, time::Instant};

/// Lines that are kept while the file cannot be written.
const MOST_WAITING: usize = 4;

pub(crate) struct JsonLines {
    pub(crate) stats: Stats,
    pub(crate) path: PathBuf,
    pub(crate) waiting: VecDeque<(UnixMillis, u64, String)>,
}

impl JsonLines {
    async fn write(&mut self) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).open(&self.path).await?;
        while let Some((at, points, line)) = self.waiting.front() {
            file.write_all(line.as_bytes()).await?;
            file.flush().await?;
            self.stats.delivered(*points, *at);
            self.waiting.pop_front();
        }
        Ok(())
    }
}

impl Sink for JsonLines {
    fn stats(&self) -> &Stats {
        &self.stats
    }
    fn start(&mut self) -> BoxFuture<'_, Result<(), String>> {
        let path = self.path.display().to_string();
        Box::pin(async move { fs::File::create(&path).await.map(drop).map_err(|error| format!("{path}: {error}")) })
    }
    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        let values: BTreeMap<_, _> = Selection::all().values(&round.snapshot).map(|(row, v)| (row.name, v)).collect();
        let line = format!("{}\n", serde_json::json!({"round": round.snapshot.round, "values": values}));
        self.waiting.push_back((round.snapshot.at, values.len() as u64, line));
        let dropped = if self.waiting.len() > MOST_WAITING { self.waiting.pop_front() } else { None };
        self.stats.dropped(DropReason::BufferFull, dropped.map_or(0, |(_, points, _)| points));
        Box::pin(async {
            if let Err(error) = self.write().await {
                self.stats.failing(format!("{} cannot be written: {error}", self.path.display()));
            }
        })
    }
    fn stop(&mut self, _by: Instant) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _kept = self.write().await;
            self.stats.dropped(DropReason::Shutdown, self.waiting.drain(..).map(|(_, points, _)| points).sum());
        })
    }
}
