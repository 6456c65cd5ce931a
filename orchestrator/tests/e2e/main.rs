//! End-to-end tests: the program as its users run it, on this host, with real guests and real
//! reservations. One program, so that its tests can take turns on the host.

mod advise;
mod clock;
mod cluster;
mod faults_guest;
mod faults_lab;
mod faults_run;
mod guest;
mod host_state;
mod lab;
mod libvirt;
mod mechanisms;
mod neighbours;
mod ordinary_user;
mod own_disk;
mod own_service;
mod package;
mod reservations;
mod reserve;
mod restore;
mod run;
mod running;
mod sabotaged;
mod sentinel;
mod slurm;
mod soak;
mod support;
mod sweep;
mod tenants;
mod torture;
mod traced;
mod travel;
mod unprivileged;
mod watched;
mod web;
