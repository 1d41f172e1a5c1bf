//! Lists and histories that a simulated embedder takes.

use peerhold_core::{Entry, History, List, Listed, OpError, Outcome};

use crate::cluster::Cluster;
use crate::task::{Running, Task};

impl Cluster {
    /// Lists names.
    pub fn list(&mut self, at: usize, list: List) -> Result<(Vec<Entry>, Listed), OpError> {
        let task = self.begin_list(at, list);
        self.listed(task)
    }

    /// Lists the versions of a name.
    pub fn history(
        &mut self,
        at: usize,
        history: History,
    ) -> Result<(Vec<Entry>, Listed), OpError> {
        let task = self.begin(at, Running::default(), |node, now| {
            node.history(now, history)
        });
        self.listed(task)
    }

    /// Begins a list.
    pub fn begin_list(&mut self, at: usize, list: List) -> Task {
        self.begin(at, Running::default(), |node, now| node.list(now, list))
    }

    fn listed(&mut self, task: Task) -> Result<(Vec<Entry>, Listed), OpError> {
        let finished = self.finish(task);
        match finished.result.expect("a listing ends")? {
            Outcome::Listed(listed) => Ok((finished.entries, listed)),
            other => panic!("a listing ended as {other:?}"),
        }
    }
}
