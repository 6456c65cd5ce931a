//! What is to be reserved, whoever says so: the command line, or the file of configured domains.

use std::path::{Path, PathBuf};

use model::{
    reservations::{self, Reserved, Share},
    say,
    suite::SuiteError,
};

use super::Options;
use crate::error::Refusal;

/// What the command line or the file says of the machine; none where the file says nothing of this
/// domain, which is told.
///
/// # Errors
/// [`Refusal::Usage`] for a file that is wrong, or not there although it was named.
pub(super) fn of(options: &Options) -> Result<Option<Reserved>, Refusal> {
    let Options { mechanism, placement, reservation, .. } = *options;
    let shares = vec![Share { vcpus: Vec::new(), reservation }];
    let Some(domain) = options.target.domain().filter(|_| options.configured) else {
        return Ok(Some(Reserved { mechanism, placement, shares }));
    };
    configured(domain, options.file.as_deref())
}

fn configured(domain: &str, file: Option<&Path>) -> Result<Option<Reserved>, Refusal> {
    let path = file.map_or_else(|| PathBuf::from(reservations::FILE), Path::to_owned);
    let read = match reservations::read(&path) {
        // Nobody has configured anything yet.
        Err(SuiteError::Read { error, .. })
            if file.is_none() && error.kind() == std::io::ErrorKind::NotFound =>
        {
            Default::default()
        }
        read => read.map_err(|error| Refusal::Usage(error.to_string()))?,
    };
    let found = read.get(domain).cloned();
    if found.is_none() {
        let names: Vec<_> = read.keys().map(|name| format!("`{name}`")).collect();
        let has = if names.is_empty() { "no domain".to_owned() } else { names.join(", ") };
        say!("domain `{domain}`: nothing to reserve: {} has {has}", path.display());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use model::Mechanism;

    use super::*;

    #[test]
    fn a_domain_is_looked_up_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.toml");
        fs::write(&file, "[domain.web]\nvcpu = { 0 = \"1ms/5ms\", 2 = \"2ms/5ms\" }\n").unwrap();
        let web = configured("web", Some(&file)).unwrap().unwrap();
        assert_eq!((web.mechanism, web.shares.len()), (Mechanism::Deadline, 2));
        assert_eq!(configured("mail", Some(&file)).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_wrong_or_was_named_and_is_not_there_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.toml");
        let error = configured("web", Some(&file)).unwrap_err();
        assert!(matches!(&error, Refusal::Usage(text) if text.contains("r.toml")), "{error}");
        fs::write(&file, "[domain.web]\ncolour = 1\n").unwrap();
        let error = configured("web", Some(&file)).unwrap_err().to_string();
        assert!(error.contains("r.toml:2") && error.contains("colour"), "{error}");
    }
}
