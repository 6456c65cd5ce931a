//! Words of a command line, as a shell takes them.

/// One word: in quotes where a shell would read it as anything else.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_the_word_again() {
        assert_eq!(quoted("/run/vm-1.sock"), "/run/vm-1.sock");
        assert_eq!(quoted("my vm"), "'my vm'");
        for word in ["", "a", "my vm", "it's", "$HOME", "~", "*", "a\\b", "#", "a\nb", "größe"] {
            let echo = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &echo]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
