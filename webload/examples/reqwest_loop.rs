//! The same closed loop with reqwest, for `bench.sh`: what the measured path would cost there.
//!
//! `reqwest_loop URL CLIENTS REQUESTS` prints the requests per second of kept connections.

use std::{env, error::Error, time::Instant};

use futures_util::stream::{FuturesUnordered, TryStreamExt};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [url, clients, requests] = &args[..] else {
        return Err("usage: reqwest_loop URL CLIENTS REQUESTS".into());
    };
    let (clients, requests): (u32, u64) = (clients.parse()?, requests.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let began = Instant::now();
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let url: reqwest::Url = url.parse()?;
        (0..clients)
            .map(async |_| {
                for _ in 0..requests {
                    client.get(url.clone()).send().await?.error_for_status()?.bytes().await?;
                }
                Ok::<(), Box<dyn Error>>(())
            })
            .collect::<FuturesUnordered<_>>()
            .try_collect::<()>()
            .await
    })?;
    let total = (u64::from(clients) * requests) as f64;
    println!("{:.1}", total / began.elapsed().as_secs_f64());
    Ok(())
}
