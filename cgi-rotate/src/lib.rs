//! Rotates pictures: a CGI/1.1 program (RFC 3875) and the library behind it.
//!
//! Data flows one way: the query or the command line becomes [`params::Params`], a body, file or
//! built-in pattern becomes a [`picture::Picture`], [`work`] turns it and encodes the result, and
//! [`reply`] writes it with its length and checksum. The rotation itself ([`rotate`]) is integer
//! arithmetic only, because floating point is some thirty times slower in an emulated guest; there it
//! does without vectors, too ([`vector`]).

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod cgi;
pub mod cli;
pub mod decode;
pub mod encode;
pub mod filter;
pub mod geometry;
pub mod images;
pub mod jpeg_in;
pub mod limits;
pub mod orientation;
mod outline;
pub mod params;
pub mod pattern;
pub mod picture;
pub mod png_in;
pub mod pnm_in;
pub mod quarter;
pub mod query;
pub mod refusal;
pub mod reply;
pub mod rotate;
pub mod shrink;
pub mod vector;
pub mod work;
