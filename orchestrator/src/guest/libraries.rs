//! The shared libraries that a program needs, so that it runs in the guest.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use lddtree::DependencyAnalyzer;

/// Adds what `program` needs to `found`: path in the guest → file on the host. A static program
/// needs nothing.
pub fn closure(program: &Path, found: &mut BTreeMap<PathBuf, PathBuf>) -> anyhow::Result<()> {
    let tree = DependencyAnalyzer::default()
        .analyze(program)
        .with_context(|| format!("{}: not a program that Linux runs", program.display()))?;
    let missing: Vec<_> = tree
        .libraries
        .values()
        .filter(|library| !library.found())
        .map(|library| library.name.as_str())
        .collect();
    if !missing.is_empty() {
        bail!("{}: needs {}, not installed here", program.display(), missing.join(", "));
    }
    for library in tree.libraries.values() {
        found.insert(library.path.clone(), library.path.clone());
    }
    // The kernel looks for the loader under the very path that the program names.
    if let Some(loader) = tree.interpreter.map(PathBuf::from) {
        found.insert(loader.clone(), loader);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_its_loader_and_libraries() {
        let mut found = BTreeMap::new();
        closure(&std::env::current_exe().unwrap(), &mut found).unwrap();
        let names: Vec<_> = found.keys().filter_map(|path| path.file_name()?.to_str()).collect();
        assert!(names.contains(&"libc.so.6"), "{names:?}");
        assert!(names.iter().any(|name| name.starts_with("ld-linux")), "{names:?}");
        assert!(found.values().all(|host| host.exists()));
    }

    #[test]
    fn what_is_no_program_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        let error = closure(&script, &mut BTreeMap::new()).unwrap_err();
        assert!(format!("{error:#}").contains("script"));
    }
}
