//! `cgi-rotate`: rotates pictures, as a CGI/1.1 program or by hand.

use std::process::ExitCode;

use cgi_rotate::cgi::{is_request, respond};
use cgi_rotate::cli::{self, Cli};
use clap::Parser;
use model::{Exit, say};

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var_os(name);
    let exit =
        if is_request(&environment, std::env::args_os().len() > 1) { serve() } else { by_hand() };
    exit.into()
}

fn serve() -> Exit {
    let reply = respond(&|name| std::env::var_os(name), &mut std::io::stdin().lock());
    match cli::unbuffered_output().and_then(|out| reply.write(out)) {
        Ok(()) => Exit::Done,
        Err(e) => {
            say!("cgi-rotate: cannot send the reply: {e}");
            Exit::Failed
        }
    }
}

fn by_hand() -> Exit {
    match cli::run(&Cli::parse()) {
        Ok(()) => Exit::Done,
        Err(refusal) => {
            say!("cgi-rotate: {refusal}");
            refusal.exit()
        }
    }
}
