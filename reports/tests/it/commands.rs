//! The command line: outputs in every format, exit codes, and errors of one line.

use std::{fs, path::Path, process::Command};

use model::manifest::Stopped;

use crate::made_up::{self, MadeUp};

fn reports(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_reports")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

fn path(folder: &MadeUp) -> &str {
    folder.path().to_str().unwrap()
}

/// Standard output of a command that must succeed and say nothing on standard error.
fn output(args: &[&str]) -> String {
    let (code, out, err) = reports(args);
    assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    out
}

#[test]
fn table_in_every_format() {
    let mut folder = MadeUp::as_in_the_paper();
    folder.manifest.suite.experiments[1].name = "never-run".to_owned();
    folder.save();
    let dir = path(&folder);
    insta::assert_snapshot!(output(&["table", dir]), @"
    experiment     task          jobs  stalled  misses  unfinished     min     mean  ± 90 %  std. dev.      p50       p90       p99     p99.9    p99.99       max  analytic
    ─────────────  ────────────  ────  ───────  ──────  ──────────  ──────  ───────  ──────  ─────────  ───────  ────────  ────────  ────────  ────────  ────────  ────────
    fig1           tau1           200        2       0           0   29.90    30.29       –       0.91    30.21     30.44     30.50     39.27     39.27     39.27     30.00
    fig1           tau2           150        2       0           0   50.10    60.58       –      14.37    50.52     80.71     80.89     89.67     89.67     89.67     80.00
    never-run      not measured     –        –       –           –       –        –       –          –        –         –         –         –         –         –         –
    fig3           tau1           200        2      50           0   59.70   119.59       –      39.01   111.30    178.79    179.27    179.30    179.30    179.30         –
    fig3           tau2           150        2     149           0  199.88  7277.63       –    4127.28  7230.23  12930.20  14259.97  14355.03  14355.03  14355.03         –
    fig4-unloaded  tau1           200        2       0           0   51.30    51.70       –       0.90    51.62     51.84     51.89     60.50     60.50     60.50     52.00
    fig4-unloaded  tau2           150        2       0           0   72.10   106.46       –      24.06   123.18    123.52    123.59    132.49    132.49    132.49    124.00
    fig4-loaded    tau1           200        2       0           0   51.30    51.70       –       0.93    51.62     51.84     51.90     60.82     60.82     60.82     52.00
    fig4-loaded    tau2           150        2       0           0   72.11   106.47       –      24.06   123.20    123.55    123.60    132.25    132.25    132.25    124.00

    Response times in milliseconds, of all jobs. A job is stalled where the machine ran no thread for more than 500 µs since its busy period began.
    No confidence interval of a mean: none over a single repetition, nor where jobs never finished.
    ");
    insta::assert_snapshot!(output(&["table", dir, "--format", "markdown"]), @"
    | experiment | task | jobs | stalled | misses | unfinished | min | mean | ± 90 % | std. dev. | p50 | p90 | p99 | p99.9 | p99.99 | max | analytic |
    | :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |
    | fig1 | tau1 | 200 | 2 | 0 | 0 | 29.90 | 30.29 | – | 0.91 | 30.21 | 30.44 | 30.50 | 39.27 | 39.27 | 39.27 | 30.00 |
    | fig1 | tau2 | 150 | 2 | 0 | 0 | 50.10 | 60.58 | – | 14.37 | 50.52 | 80.71 | 80.89 | 89.67 | 89.67 | 89.67 | 80.00 |
    | never-run | not measured | – | – | – | – | – | – | – | – | – | – | – | – | – | – | – |
    | fig3 | tau1 | 200 | 2 | 50 | 0 | 59.70 | 119.59 | – | 39.01 | 111.30 | 178.79 | 179.27 | 179.30 | 179.30 | 179.30 | – |
    | fig3 | tau2 | 150 | 2 | 149 | 0 | 199.88 | 7277.63 | – | 4127.28 | 7230.23 | 12930.20 | 14259.97 | 14355.03 | 14355.03 | 14355.03 | – |
    | fig4-unloaded | tau1 | 200 | 2 | 0 | 0 | 51.30 | 51.70 | – | 0.90 | 51.62 | 51.84 | 51.89 | 60.50 | 60.50 | 60.50 | 52.00 |
    | fig4-unloaded | tau2 | 150 | 2 | 0 | 0 | 72.10 | 106.46 | – | 24.06 | 123.18 | 123.52 | 123.59 | 132.49 | 132.49 | 132.49 | 124.00 |
    | fig4-loaded | tau1 | 200 | 2 | 0 | 0 | 51.30 | 51.70 | – | 0.93 | 51.62 | 51.84 | 51.90 | 60.82 | 60.82 | 60.82 | 52.00 |
    | fig4-loaded | tau2 | 150 | 2 | 0 | 0 | 72.11 | 106.47 | – | 24.06 | 123.20 | 123.55 | 123.60 | 132.25 | 132.25 | 132.25 | 124.00 |

    Response times in milliseconds, of all jobs. A job is stalled where the machine ran no thread for more than 500 µs since its busy period began.

    No confidence interval of a mean: none over a single repetition, nor where jobs never finished.
    ");
    insta::assert_snapshot!(output(&["table", dir, "--format", "csv"]), @"
    experiment,task,samples,repetitions,jobs,stalled,misses,failures,min_ns,mean_ns,mean_ci90_ns,ci_unit,ci_units,stddev_ns,p50_ns,p90_ns,p99_ns,max_ns,analytic_ns,unfinished,p99_9_ns,p99_99_ns
    fig1,tau1,all,1,200,2,0,0,29902969,30293921,,,,913985,30213131,30444630,30496252,39269110,30000000,0,39269110,39269110
    fig1,tau2,all,1,150,2,0,0,50100856,60575022,,,,14369525,50517458,80707034,80890451,89669302,80000000,0,89669302,89669302
    never-run,,all,0,0,,,0,,,,,,,,,,,,0,,
    fig3,tau1,all,1,200,2,50,0,59701293,119589581,,,,39014478,111295709,178786422,179274654,179298390,,0,179298390,179298390
    fig3,tau2,all,1,150,2,149,0,199876611,7277633395,,,,4127276220,7230229897,12930195014,14259974364,14355034586,,0,14355034586,14355034586
    fig4-unloaded,tau1,all,1,200,2,0,0,51300754,51697838,,,,897131,51620467,51836124,51893070,60503313,52000000,0,60503313,60503313
    fig4-unloaded,tau2,all,1,150,2,0,0,72101802,106457213,,,,24059880,123179187,123524577,123592990,132488069,124000000,0,132488069,132488069
    fig4-loaded,tau1,all,1,200,2,0,0,51301291,51700385,,,,934668,51615795,51843986,51899283,60818966,52000000,0,60818966,60818966
    fig4-loaded,tau2,all,1,150,2,0,0,72111990,106470462,,,,24064788,123199171,123552202,123596864,132254356,124000000,0,132254356,132254356
    ");
    insta::assert_snapshot!(
        output(&["table", dir, "--format", "latex", "--jobs", "undisturbed"]),
        @r#"
        \begingroup\footnotesize\setlength{\tabcolsep}{3pt}%
        \begin{tabular}{llrrrrrrrrrrrrrrr}
        \toprule
        experiment & task & jobs & stalled & misses & unfinished & min & mean & $\pm$ 90 \% & std. dev. & p50 & p90 & p99 & p99.9 & p99.99 & max & analytic \\
        \midrule
        fig1 & tau1 & 198 & 2 & 0 & 0 & 29.90 & 30.20 & -- & 0.18 & 30.21 & 30.44 & 30.49 & 30.50 & 30.50 & 30.50 & 30.00 \\
        fig1 & tau2 & 148 & 2 & 0 & 0 & 50.10 & 60.38 & -- & 14.27 & 50.51 & 80.71 & 80.89 & 80.89 & 80.89 & 80.89 & 80.00 \\
        never-run & not measured & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- & -- \\
        fig3 & tau1 & 198 & 2 & 50 & 0 & 59.70 & 119.67 & -- & 39.12 & 111.30 & 178.79 & 179.28 & 179.30 & 179.30 & 179.30 & -- \\
        fig3 & tau2 & 148 & 2 & 147 & 0 & 199.88 & 7295.48 & -- & 4152.36 & 7325.05 & 13025.03 & 14259.97 & 14355.03 & 14355.03 & 14355.03 & -- \\
        fig4-unloaded & tau1 & 198 & 2 & 0 & 0 & 51.30 & 51.61 & -- & 0.16 & 51.62 & 51.84 & 51.89 & 51.89 & 51.89 & 51.89 & 52.00 \\
        fig4-unloaded & tau2 & 148 & 2 & 0 & 0 & 72.10 & 106.45 & -- & 24.04 & 123.18 & 123.52 & 123.59 & 123.59 & 123.59 & 123.59 & 124.00 \\
        fig4-loaded & tau1 & 198 & 2 & 0 & 0 & 51.30 & 51.61 & -- & 0.18 & 51.61 & 51.84 & 51.89 & 51.90 & 51.90 & 51.90 & 52.00 \\
        fig4-loaded & tau2 & 148 & 2 & 0 & 0 & 72.11 & 106.47 & -- & 24.04 & 123.20 & 123.55 & 123.60 & 123.60 & 123.60 & 123.60 & 124.00 \\
        \bottomrule
        \end{tabular}\endgroup
        % Response times in milliseconds, of the jobs that no stall disturbed. A job is stalled where the machine ran no thread for more than 500 µs since its busy period began.
        % No confidence interval of a mean: none over a single repetition, nor where jobs never finished.
        "#
    );
}

#[test]
fn with_five_repetitions_they_are_the_unit() {
    let mut folder = MadeUp::empty(made_up::SUITE);
    for _ in 0..5 {
        folder.add("fig1", |task, _| [31.0, 81.0][task]);
    }
    let table = output(&["table", path(&folder), "--format", "csv"]);
    let tau1 = table.lines().nth(1).unwrap();
    assert!(tau1.starts_with("fig1,tau1,all,5,1000,10,0,0,"), "{tau1}");
    assert!(tau1.contains(",repetitions,5,"), "{tau1}");
}

#[test]
fn compare_in_text_and_csv() {
    let (first, mut second) = (MadeUp::as_in_the_paper(), MadeUp::as_in_the_paper());
    second.reshape("fig1", |task, _| [33.0, 84.0][task]);
    second.manifest.suite.experiments.remove(2);
    second.save();
    let (a, b) = (path(&first), path(&second));
    insta::assert_snapshot!(output(&["compare", a, b]), @"
    The circumstances are the same: host, programs, suite.

    experiment     task  mean 1  mean 2   change  ± 90 %  differs   p50 1   p50 2   p90 1   p90 2   p99 1   p99 2  p99.9 1  p99.9 2  p99.99 1  p99.99 2  unfinished  distance  at most    KS  90 %  Cliff's δ
    ─────────────  ────  ──────  ──────  ───────  ──────  ───────  ──────  ──────  ──────  ──────  ──────  ──────  ───────  ───────  ────────  ────────  ──────────  ────────  ───────  ────  ────  ─────────
    fig1           tau1   30.29   33.10   +9.3 %       –        –   30.21   33.03   30.44   33.25   30.50   33.30    39.27    41.99     39.27     41.99        0, 0      2.81        –  0.99     –      +0.98
    fig1           tau2   60.58   84.09  +38.8 %       –        –   50.52   83.97   80.71   84.21   80.89   93.11    89.67    93.14     89.67     93.14        0, 0     23.52        –  0.99     –      +0.99
    fig2           tau1   31.18   31.18   +0.0 %       –        –   31.09   31.09   31.34   31.34   31.40   31.40    40.25    40.25     40.25     40.25        0, 0      0.00        –  0.00     –       0.00
    fig2           tau2   72.43   72.43   +0.0 %       –        –   82.34   82.34   82.67   82.67   82.79   82.79    91.48    91.48     91.48     91.48        0, 0      0.00        –  0.00     –       0.00
    fig4-unloaded  tau1   51.70   51.70   +0.0 %       –        –   51.62   51.62   51.84   51.84   51.89   51.89    60.50    60.50     60.50     60.50        0, 0      0.00        –  0.00     –       0.00
    fig4-unloaded  tau2  106.46  106.46   +0.0 %       –        –  123.18  123.18  123.52  123.52  123.59  123.59   132.49   132.49    132.49    132.49        0, 0      0.00        –  0.00     –       0.00
    fig4-loaded    tau1   51.70   51.70   +0.0 %       –        –   51.62   51.62   51.84   51.84   51.90   51.90    60.82    60.82     60.82     60.82        0, 0      0.00        –  0.00     –       0.00
    fig4-loaded    tau2  106.47  106.47   +0.0 %       –        –  123.20  123.20  123.55  123.55  123.60  123.60   132.25   132.25    132.25    132.25        0, 0      0.00        –  0.00     –       0.00

    Response times in milliseconds. Change: of the mean, 2 against 1, with its confidence interval over runs; differs: whether it is one, of all rows together with 90 % confidence. Unfinished: jobs of 1 and 2; in change and distances they enter with the length of their run. Distance: Wasserstein-1 between the CDFs, at most: its upper 95 % bound. KS: largest gap between the CDFs, with its interval. δ above 0: folder 2 is slower.
    Whether they differ cannot be told: that takes two repetitions on each side.
    Only the first folder measured fig3.
    ");
    insta::assert_snapshot!(output(&["compare", a, b, "--format", "csv"]), @"
    experiment,task,jobs_1,jobs_2,mean_1_ns,mean_2_ns,mean_difference_ns,mean_difference_ci90_ns,p50_1_ns,p50_2_ns,p90_1_ns,p90_2_ns,p99_1_ns,p99_2_ns,wasserstein_ns,wasserstein_upper95_ns,ks_distance,ks_p_value,cliffs_delta,ks_low90,ks_high90,unfinished_1,unfinished_2,p_value,differs,wasserstein_lower95_ns,p99_9_1_ns,p99_9_2_ns,p99_99_1_ns,p99_99_2_ns,missed_1,missed_2
    fig1,tau1,200,200,30293921,33098950,,,30213131,33025445,30444630,33250201,30496252,33296823,2805030,,0.9900,8.426e-88,0.9802,,,0,0,,,,39269110,41987893,39269110,41987893,0,0
    fig1,tau2,150,150,60575022,84092959,,,50517458,83969779,80707034,84205228,80890451,93109483,23517937,,0.9933,1.090e-66,0.9868,,,0,0,,,,89669302,93142781,89669302,93142781,0,0
    fig2,tau1,200,200,31175651,31175651,,,31091015,31091015,31342889,31342889,31398351,31398351,0,,0.0000,1.000e0,0.0000,,,0,0,,,,40251025,40251025,40251025,40251025,0,0
    fig2,tau2,150,150,72429305,72429305,,,82336890,82336890,82671412,82671412,82787045,82787045,0,,0.0000,1.000e0,0.0000,,,0,0,,,,91482486,91482486,91482486,91482486,0,0
    fig4-unloaded,tau1,200,200,51697838,51697838,,,51620467,51620467,51836124,51836124,51893070,51893070,0,,0.0000,1.000e0,0.0000,,,0,0,,,,60503313,60503313,60503313,60503313,0,0
    fig4-unloaded,tau2,150,150,106457213,106457213,,,123179187,123179187,123524577,123524577,123592990,123592990,0,,0.0000,1.000e0,0.0000,,,0,0,,,,132488069,132488069,132488069,132488069,0,0
    fig4-loaded,tau1,200,200,51700385,51700385,,,51615795,51615795,51843986,51843986,51899283,51899283,0,,0.0000,1.000e0,0.0000,,,0,0,,,,60818966,60818966,60818966,60818966,0,0
    fig4-loaded,tau2,150,150,106470462,106470462,,,123199171,123199171,123552202,123552202,123596864,123596864,0,,0.0000,1.000e0,0.0000,,,0,0,,,,132254356,132254356,132254356,132254356,0,0
    ");
}

#[test]
fn claims_exit_4_where_one_fails() {
    let mut folder = MadeUp::as_in_the_paper();
    assert_eq!(reports(&["claims", path(&folder)]).0, 0);
    folder.reshape("fig1", |_, _| 100.0);
    let (code, out, err) = reports(&["claims", path(&folder), "--summary", "json"]);
    assert_eq!((code, err.as_str()), (4, ""));
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["claims"][0]["verdict"], "fails");
}

/// Standard error of a command that must end with exit code 2 and print nothing.
fn refused(args: &[&str]) -> String {
    let (code, out, err) = reports(args);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert_eq!(err.lines().count(), 1, "one line: {err}");
    err
}

fn edit(folder: &MadeUp, file: &str, edit: impl Fn(String) -> String) {
    let path = folder.path().join(file);
    let text = edit(fs::read_to_string(&path).unwrap());
    fs::write(path, text).unwrap();
}

#[test]
fn a_bad_folder_is_refused_in_one_line() {
    let error = refused(&["render", "no-such-folder"]);
    assert!(error.contains("no-such-folder: No such file"), "{error}");
    assert!(error.contains("manifest.json"), "{error}");

    let folder = MadeUp::as_in_the_paper();
    edit(&folder, "manifest.json", |text| {
        text.replacen("\"schema_version\": 2", "\"schema_version\": 99", 1)
    });
    let error = refused(&["table", path(&folder)]);
    assert!(error.contains("`schema_version` is 99; this program reads up to 2"), "{error}");

    edit(&folder, "manifest.json", |_| "{".to_owned());
    assert!(refused(&["claims", path(&folder)]).contains("manifest.json: EOF"));

    let folder = MadeUp::as_in_the_paper();
    edit(&folder, "fig1/rep-000/jobs.csv", |text| text.replacen(",0,0,,\n", ",maybe,0,,\n", 1));
    let error = refused(&["table", path(&folder)]);
    assert!(error.contains("jobs.csv, line 2, column `missed`: `maybe` is not"), "{error}");
}

#[test]
fn a_missing_file_is_not_measured_and_said() {
    let folder = MadeUp::as_in_the_paper();
    fs::remove_file(folder.path().join("fig2/rep-000/jobs.csv")).unwrap();
    let table = output(&["table", path(&folder)]);
    assert!(
        table.contains("Missing: fig2/rep-000 counts, but has neither jobs.csv nor"),
        "{table}"
    );
    let (code, _, err) = reports(&["render", path(&folder)]);
    assert_eq!(code, 0);
    assert!(err.contains("fig2/rep-000"), "{err}");
    assert!(!Path::new(&folder.path().join("report/fig2.svg")).exists());
}

#[test]
fn help_tells_the_exit_codes_and_a_wrong_option_ends_with_2() {
    let (code, out, _) = reports(&["claims", "--help"]);
    let one_line = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(one_line.contains("4 done, but a claim or deadline did not hold"), "{out}");
    assert_eq!(code, 0);
    assert_eq!(reports(&["table", "x", "--format", "pdf"]).0, 2);
}

#[test]
fn what_was_not_released_after_the_first_miss_is_not_unfinished() {
    let mut folder = MadeUp::as_in_the_paper();
    folder.keep_jobs("fig1", "tau1", 20);
    folder.keep_jobs("fig1", "tau2", 15);
    let unfinished = |folder: &MadeUp| -> Vec<String> {
        let table = output(&["table", path(folder), "--format", "csv"]);
        let column = table.lines().next().unwrap().split(',').position(|own| own == "unfinished");
        let own = table.lines().filter(|line| line.starts_with("fig1,"));
        own.map(|line| line.split(',').nth(column.unwrap()).unwrap().to_owned()).collect()
    };
    assert_eq!(unfinished(&folder), ["180", "135"], "of 30 s");
    let stopped = Stopped { task: "tau2".to_owned(), after_ns: 3_000_000_000 };
    folder.manifest.repetitions[0].facts.stopped = Some(stopped);
    folder.save();
    assert_eq!(unfinished(&folder), ["0", "0"], "of the 3 s until the first miss");
}
