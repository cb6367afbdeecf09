//! The demonstration is the main job end to end, and every step of it is checked: that it ends well is the best test there is.

use std::{fs, process::Output};

use tokio::process::Command;

async fn demo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.arg("demo").args(arguments).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_ends_with_its_proof() {
    let output = demo(&[]).await;
    let (told, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{told}\n{errors}");
    let last = told.lines().last().unwrap();
    assert!(last.starts_with("proof holds: lakeside "), "{last}");
    for part in [
        "200 of 200 orders",
        "微信 wechat is paid by weixin://",
        "支付宝 alipay is paid by http://",
        "12 of 12 credited exactly once",
        "AMOUNT_DIFFERS",
        "离线验签",
        "李小红 Li Xiaohong",
        "kill -9",
        "离线交易 OFFLINE",
        "CAPTURED 已入账",
        "transferred, with a hold",
        "verified: 2 centers",
        "张伟 Zhang Wei",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_something_in_it_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine");
    fs::write(&path, "mine").unwrap();
    let output = demo(&["--keep", directory.path().to_str().unwrap()]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be empty"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(path).unwrap(), "mine");
}
