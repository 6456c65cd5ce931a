//! The vector of costs, as the program measures it here.

use std::{fs, process::Command};

use model::{
    costs::{Component, CostVector},
    host::Platform,
};

#[path = "it/common.rs"]
#[expect(dead_code, reason = "not every test program needs all of it")]
mod common;

use common::{alone, folder, json};

#[test]
fn a_whole_vector_is_measured_and_its_order_is_that_of_every_processor() {
    let (_alone, folder) = (alone(), folder());
    let mut rtload = Command::new(env!("CARGO_BIN_EXE_rtload"));
    rtload.current_dir(folder.path());
    let output = rtload
        .args("characterise --for 1ms --out vector.json --summary json".split(' '))
        .output()
        .unwrap();
    let summary = json(&output);
    assert_eq!(summary["warnings"].as_array().unwrap().len(), 0, "{summary}");
    let text = fs::read_to_string(folder.path().join("vector.json")).unwrap();
    let vector = CostVector::parse(&text).unwrap();
    assert_eq!(summary["costs"], serde_json::to_value(&vector.costs).unwrap());
    let cost = |component| vector.cost(component).unwrap().per_operation_ns;
    for component in Component::ALL {
        assert!((0.01..1e8).contains(&cost(component)), "{component}: {}", cost(component));
        assert_eq!(vector.cost(component).unwrap().batches, 20);
    }
    // Whatever the processor: chains that wait cost more than chains side by side, memory more than
    // the first cache, a switch more than a system call, and that more than a step; what is predicted
    // or waits for nothing costs less than what is not or does.
    assert!(cost(Component::IntegerThroughput) < cost(Component::IntegerLatency), "{text}");
    assert!(cost(Component::MemoryDram) > 2.0 * cost(Component::MemoryL1), "{text}");
    assert!(cost(Component::SystemCall) > 5.0 * cost(Component::IntegerLatency), "{text}");
    assert!(cost(Component::ContextSwitch) > 2.0 * cost(Component::SystemCall), "{text}");
    assert!(cost(Component::BranchThroughput) < cost(Component::Branches), "{text}");
    assert!(cost(Component::LoadThroughput) < cost(Component::MemoryL1), "{text}");
    assert!(cost(Component::PageFault) > cost(Component::SystemCall), "{text}");
    assert!(cost(Component::ProcessStart) > 5.0 * cost(Component::PageFault), "{text}");
    // Number by number, without vectors, it would be more: eight times as many operations.
    if vector.host.platform != Some(Platform::Emulated) {
        assert!(cost(Component::Vector) < cost(Component::IntegerThroughput), "{text}");
    }
    assert!(vector.loop_ns.unwrap() < cost(Component::IntegerLatency), "{text}");
    assert!(vector.clock_read_ns.unwrap() * 1_000.0 < vector.batch_ns as f64, "{text}");
}

#[test]
fn what_cannot_be_measured_is_refused_before_a_file_is_touched() {
    let folder = folder();
    for (rest, says) in [
        ("--for 0s", "--for 0"),
        ("--for 5", "no unit"),
        ("--cpu 4000", "--cpu 4000"),
        ("--out nowhere/vector.json", "nowhere/vector.json"),
        ("--out calibration.json --cpu 4000", "--cpu 4000"),
    ] {
        let before = fs::read(folder.path().join("calibration.json")).unwrap();
        let mut rtload = Command::new(env!("CARGO_BIN_EXE_rtload"));
        rtload.current_dir(folder.path()).arg("characterise").args(rest.split(' '));
        let output = rtload.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{rest}: {stderr}");
        assert!(stderr.contains(says) && output.stdout.is_empty(), "{rest}: {stderr}");
        assert_eq!(fs::read(folder.path().join("calibration.json")).unwrap(), before);
    }
}
