//! HTTP/1.1 as a client that measures needs it (RFC 9112): a request's bytes, made once, and answers
//! whose bytes are looked at where they were read, and not kept.

pub(crate) mod answer;
mod chunks;
#[cfg(test)]
mod cut;
mod head;
pub(crate) mod request;
