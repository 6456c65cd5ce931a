//! A long message in one sentence, with the rest at hand.

/// A sentence for people, and the whole message where that is longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// One sentence.
    pub sentence: String,
    /// All of it, where the sentence leaves something out.
    pub whole: Option<String>,
}

/// Longer messages are cut.
const LONGEST: usize = 180;

/// What programs say before they quote another program at length.
const QUOTES: [&str; 4] = ["; QEMU said: ", "; QEMU: ", ": qemu-system-", "; the log ends with"];

impl From<&str> for Brief {
    fn from(sentence: &str) -> Self {
        Self { sentence: sentence.to_owned(), whole: None }
    }
}

/// The message up to its first line break, quotation of a program or 180 characters, whichever comes
/// first.
#[must_use]
pub fn brief(message: &str) -> Brief {
    let line = message.lines().next().unwrap_or("");
    let quote = QUOTES.iter().filter_map(|mark| line.find(mark)).min();
    let mut sentence = line[..quote.unwrap_or(line.len())].to_owned();
    if sentence.chars().count() > LONGEST {
        let short: String = sentence.chars().take(LONGEST).collect();
        let end = short.rfind(' ').unwrap_or(short.len());
        sentence = format!("{} …", short[..end].trim_end_matches([',', ';', ':']));
    }
    let whole = (sentence != message).then(|| message.to_owned());
    Brief { sentence, whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_one_sentence() {
        let short = brief("the guest was killed");
        assert_eq!((short.sentence.as_str(), short.whole), ("the guest was killed", None));
        let long =
            brief("the guest did not boot: qemu-system-x86_64: ../x.c:12: Assertion `a' failed");
        assert_eq!(long.sentence, "the guest did not boot");
        assert!(long.whole.unwrap().contains("Assertion"));
        let lines = brief("one\ntwo");
        assert_eq!((lines.sentence.as_str(), lines.whole.as_deref()), ("one", Some("one\ntwo")));
        let wide = brief(&"word ".repeat(100));
        assert!(wide.sentence.chars().count() <= LONGEST + 2 && wide.sentence.ends_with(" …"));
    }
}
