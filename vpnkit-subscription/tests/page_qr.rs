//! The QR codes that the page makes in the browser are read by an independent reader.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Rows of `#` and `.` as the page's script makes them of each text, which stand one a line.
fn codes(texts: &[String]) -> Vec<Vec<String>> {
    let script = include_str!("../src/page/qr.js");
    let run = "
        const lines = require('fs').readFileSync(0, 'utf8').split('\\n');
        for (const line of lines) {
          const code = qrCode(line);
          console.log(code === null ? '-' : code.map((row) => row.map((dark) => (dark ? '#' : '.')).join('')).join('/'));
        }";
    let mut node = Command::new("node")
        .args(["-e", &format!("{script}\n{run}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    node.stdin.take().unwrap().write_all(texts.join("\n").as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('/').map(str::to_owned).collect()).collect()
}

#[test]
fn every_length_of_a_link_is_read_back() {
    // Every version but the largest ones, each at its fullest and just beyond; letters of two and four bytes.
    let lengths = (1..200).chain((200..2_900).step_by(37)).chain([2_953]);
    let mut texts: Vec<String> = lengths
        .map(|length| {
            (0..length).map(|i| char::from(b'!' + u8::try_from((i * 7 + length) % 90).unwrap())).collect()
        })
        .collect();
    texts.push("vless://uuid@host:443?type=ws#🇩🇪 Франкфурт".to_owned());
    for (text, code) in texts.iter().zip(codes(&texts)) {
        let side = code.len();
        let dark = |x: usize, y: usize| code[y].as_bytes()[x] == b'#';
        let read = rqrr::SimpleGrid::from_func(side, dark);
        let (_, found) =
            rqrr::Grid::new(read).decode().unwrap_or_else(|e| panic!("{} bytes: {e}", text.len()));
        assert_eq!(&found, text, "{} bytes", text.len());
    }
    assert_eq!(codes(&["x".repeat(2_954)]), [["-"]], "longer than any code");
}
