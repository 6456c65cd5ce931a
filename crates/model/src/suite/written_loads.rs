//! The loads of an experiment as they are written: one, or a list.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::Load;

/// One load (a table), or a list.
#[derive(Debug, Clone, Default)]
pub(super) struct Loads(pub Vec<Load>);

#[cfg(test)]
impl schemars::JsonSchema for Loads {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Loads".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Load>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl Loads {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Loads {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Loads {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Not `untagged`: an error would no longer name its place.
struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Loads;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a load, for example `{ tasks = [\"50ms/120ms\"] }`, or a list of loads")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Loads, A::Error> {
        Load::deserialize(MapAccessDeserializer::new(map)).map(|one| Loads(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Loads, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Loads)
    }

    fn visit_unit<E>(self) -> Result<Loads, E> {
        Ok(Loads::default())
    }
}
