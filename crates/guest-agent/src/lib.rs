//! The guest's /init, and the protocol that it speaks with the host.
//!
//! The program prepares the guest (mounts, modules, network), says hello on a virtio-serial port
//! and then serves requests: run a command, put and get files, read the clock, shut down. Between
//! requests it sleeps in `poll`: it must not disturb what is measured beside it.

pub mod boot;
pub mod command;
pub mod entered;
pub mod facts;
pub mod files;
pub mod init;
pub mod logged;
pub mod message;
pub mod net;
pub mod netlink;
pub mod port;
pub mod protocol;
pub mod reaper;
pub mod serve;
pub mod switch;
pub mod wild;
