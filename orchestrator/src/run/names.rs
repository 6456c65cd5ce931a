//! How the files of a workload are called.

use std::path::{Path, PathBuf};

use model::suite::Workload;

/// How the files of a workload are called: as ever where it is alone, else with its name in front.
pub(super) struct Names<'a> {
    folder: &'a Path,
    prefix: String,
}

impl<'a> Names<'a> {
    pub fn of(folder: &'a Path, workload: Workload) -> Self {
        let alone = workload.experiment.only().is_some();
        let vm = workload.vm.map_or("host", |vm| &vm.name);
        let service = workload.service.map_or("", |service| &service.name);
        let prefix = if alone { String::new() } else { format!("{vm}.{service}.") };
        Self { folder, prefix }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}{name}", self.prefix))
    }
}
