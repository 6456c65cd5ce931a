//! JSON as rt-app reads it (json-c's ordinary parser): with comments, trailing commas and strings in
//! single quotes; and every value with its path and its place in the file, for errors.
//!
//! An object may have a key more than once; here all of them stay, in their order.

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Object, ObjectProp, Value},
    common::Ranged,
    parse_to_ast,
};

/// A file and its text.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file's name, for errors.
    pub name: &'a str,
    /// What stands in it.
    pub text: &'a str,
}

const LIKE_RT_APP: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: true,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl<'a> Source<'a> {
    /// The value that the text is.
    ///
    /// # Errors
    /// One line with the file, line and column.
    pub fn parse(self) -> Result<Value<'a>, String> {
        let parsed = parse_to_ast(self.text, &CollectOptions::default(), &LIKE_RT_APP)
            .map_err(|error| self.refuse(error.range().start, "", error.kind()))?;
        parsed.value.ok_or_else(|| self.refuse(0, "", "there is no JSON in it"))
    }

    /// One line that says what is wrong at byte `at`, where `path` stands.
    fn refuse(self, at: usize, path: &str, what: impl std::fmt::Display) -> String {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{}:{line}:{column}: {path}{what}", self.name)
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    source: Source<'a>,
    /// Its keys from the root, with points between them.
    pub path: String,
    value: &'a Value<'a>,
    /// Where it begins, or its key, in bytes.
    at: usize,
}

/// A key of an object, and its value.
pub type Entry<'a> = (&'a str, Item<'a>);

impl<'a> Item<'a> {
    /// The whole of a file.
    #[must_use]
    pub fn root(source: Source<'a>, value: &'a Value<'a>) -> Self {
        Self { source, path: String::new(), value, at: value.start() }
    }

    /// One line that says where and what is wrong.
    pub fn refuse(&self, what: impl std::fmt::Display) -> String {
        self.source.refuse(self.at, &self.path, what)
    }

    /// Its entries in their order, some with the same key.
    ///
    /// # Errors
    /// Where it is no object.
    pub fn entries(&self) -> Result<Vec<Entry<'a>>, String> {
        let Value::Object(Object { properties, .. }) = self.value else {
            return Err(self.is_no("an object, `{ … }`"));
        };
        Ok(properties.iter().map(|property| self.entry(property)).collect())
    }

    fn entry(&self, property: &'a ObjectProp<'a>) -> Entry<'a> {
        let key = property.name.as_str();
        let shown = shown(key);
        let path = if self.path.is_empty() { shown } else { format!("{}.{shown}", self.path) };
        (key, Self { source: self.source, path, value: &property.value, at: property.start() })
    }

    /// Its entries, of which each key may stand once.
    ///
    /// # Errors
    /// Where it is no object, or a key stands twice.
    pub fn distinct_entries(&self) -> Result<Vec<Entry<'a>>, String> {
        let entries = self.entries()?;
        let keys = |upto: usize| entries[..upto].iter().map(|(key, _)| *key);
        for (at, (key, item)) in entries.iter().enumerate() {
            if keys(at).any(|other| other == *key) {
                return Err(item.refuse("stands here a second time; give each its own name"));
            }
        }
        Ok(entries)
    }

    /// The integer that it is, in `least..=most`.
    ///
    /// # Errors
    /// Where it is another, or none.
    pub fn integer(&self, least: i64, most: i64) -> Result<i64, String> {
        let wanted = format!("must be an integer from {least} to {most}");
        let Value::NumberLit(number) = self.value else { return Err(self.is_no(&wanted)) };
        match number.value.parse() {
            Ok(integer) if (least..=most).contains(&integer) => Ok(integer),
            _ => Err(self.refuse(format!("`{}`: {wanted}", shown(number.value)))),
        }
    }

    /// Whether it is a number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self.value, Value::NumberLit(_))
    }

    /// The text that it is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn text(&self) -> Result<&'a str, String> {
        match self.value {
            Value::StringLit(text) => Ok(&text.value),
            _ => Err(self.is_no("a string")),
        }
    }

    /// The elements of the list that it is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn elements(&self) -> Result<Vec<Self>, String> {
        let Value::Array(array) = self.value else { return Err(self.is_no("a list, `[ … ]`")) };
        let element = |(number, value): (usize, &'a Value<'a>)| Self {
            source: self.source,
            path: format!("{}[{number}]", self.path),
            value,
            at: value.start(),
        };
        Ok(array.elements.iter().enumerate().map(element).collect())
    }

    fn is_no(&self, wanted: &str) -> String {
        let found = match self.value {
            Value::StringLit(_) => "a string",
            Value::NumberLit(_) => "a number",
            Value::BooleanLit(_) => "a truth value",
            Value::Object(_) => "an object",
            Value::Array(_) => "a list",
            Value::NullKeyword(_) => "null",
        };
        let wanted = if wanted.starts_with("must") {
            wanted.to_owned()
        } else {
            format!("must be {wanted}")
        };
        self.refuse(format!("is {found}; it {wanted}"))
    }
}

/// `text` on one line, and at most 40 characters of it.
#[must_use]
pub fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let rest = if text.chars().nth(40).is_some() { "…" } else { "" };
    text.chars().take(40).map(printable).chain(rest.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Source { name: "f.json", text }.parse().unwrap_err()
    }

    #[test]
    fn what_rt_app_accepts_is_read_and_repeated_keys_stay_in_their_order() {
        let text = "/* all */ { 'a': 1, // one\n \"b\": [1, 2,], \"a\": 2, }";
        let source = Source { name: "f.json", text };
        let value = source.parse().unwrap();
        let entries = Item::root(source, &value).entries().unwrap();
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["a", "b", "a"]);
        assert_eq!(entries[2].1.integer(0, 9).unwrap(), 2);
        assert_eq!(entries[1].1.elements().unwrap()[1].path, "b[1]");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        assert!(refused("{\n \"a\": }").starts_with("f.json:2:"), "{}", refused("{\n \"a\": }"));
        assert!(refused("{ \"a\": 1 \"b\": 2 }").contains("comma"));
        assert!(refused("{ a: 1 }").starts_with("f.json:1:3: "));
        assert!(refused("").contains("no JSON"));
        assert!(refused(&"[".repeat(60_000)).contains("depth"));
    }

    #[test]
    fn a_wrong_value_is_refused_with_path_and_place() {
        let source = Source { name: "f.json", text: "{ \"ä\": 1,\n  \"a\": { \"b\": 1.5 } }" };
        let value = source.parse().unwrap();
        let root = Item::root(source, &value);
        let entries = root.entries().unwrap();
        let inner = entries[1].1.entries().unwrap();
        assert_eq!(
            inner[0].1.integer(0, 9).unwrap_err(),
            "f.json:2:10: a.b: `1.5`: must be an integer from 0 to 9"
        );
        assert_eq!(
            entries[1].1.text().unwrap_err(),
            "f.json:2:3: a: is an object; it must be a string"
        );
    }
}
