//! What the command left below `$OUT`, brought back as it is.

use std::{fs, io::Write, path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    error::Refusal,
    guest::{Guest, Stream},
    host::Stop,
};

const LIMIT: Duration = Duration::from_secs(600);

/// Makes the folder, before anything else is done.
///
/// # Errors
/// [`Refusal::Usage`] where it cannot be made.
pub(super) fn prepare(out: &Path) -> Result<()> {
    fs::create_dir_all(out)
        .map_err(|error| Refusal::Usage(format!("--out {}: {error}", out.display())).into())
}

/// Moves what is in the guest's folder `from` into the folder `out`. What is there under the same
/// name stays; what was brought is then kept beside it.
///
/// # Errors
/// The guest cannot pack it, or `out` cannot take it.
pub(super) fn bring(guest: &Guest, from: &str, out: &Path, stop: &Stop) -> Result<()> {
    let mut packed = tempfile::tempfile_in(out).with_context(|| out.display().to_string())?;
    let running = guest.start(&["tar", "-C", from, "-cf", "-", "."], &[], stop.flag())?;
    let (mut said, mut written) = (Vec::new(), Ok(()));
    let status = guest.follow(&running, LIMIT, stop.flag(), |stream, bytes| match stream {
        Stream::Stdout if written.is_ok() => written = packed.write_all(bytes),
        Stream::Stdout => {}
        Stream::Stderr => said.extend_from_slice(bytes),
    })?;
    written.with_context(|| out.display().to_string())?;
    if !status.success() {
        bail!(
            "packing {from} in the lab host: {status}: {}",
            String::from_utf8_lossy(&said).trim()
        );
    }
    std::io::Seek::rewind(&mut packed)?;
    let aside = tempfile::Builder::new().prefix("lab-").tempdir_in(out)?;
    let mut archive = tar::Archive::new(packed);
    archive.set_preserve_ownerships(false);
    archive.unpack(aside.path()).with_context(|| out.display().to_string())?;
    move_into(aside, out)
}

fn move_into(aside: tempfile::TempDir, out: &Path) -> Result<()> {
    let names: Vec<_> =
        fs::read_dir(aside.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    if let Some(name) = names.iter().find(|name| out.join(name).exists()) {
        let name = out.join(name);
        let kept = aside.keep();
        bail!("{} exists already; the results are kept in {}", name.display(), kept.display());
    }
    for name in names {
        fs::rename(aside.path().join(&name), out.join(&name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_stays() {
        let out = tempfile::tempdir().unwrap();
        let brought = |text: &str| {
            let aside = tempfile::Builder::new().prefix("lab-").tempdir_in(out.path()).unwrap();
            fs::write(aside.path().join("file"), text).unwrap();
            move_into(aside, out.path())
        };
        brought("first").unwrap();
        let error = brought("second").unwrap_err().to_string();
        assert_eq!(fs::read_to_string(out.path().join("file")).unwrap(), "first");
        let kept = error.rsplit(' ').next().unwrap();
        assert_eq!(fs::read_to_string(Path::new(kept).join("file")).unwrap(), "second");
    }
}
