//! `simple-ipc pkt-line`.

use std::fs;

use crate::support::*;

#[track_caller]
fn gives(arguments: &[&str], input: impl Into<Vec<u8>>, output: impl AsRef<[u8]>) {
    let mut command = simple_ipc(["pkt-line"].iter().chain(arguments));
    let said = command.write_stdin(input).output().unwrap();
    let readable = |bytes: &[u8]| bytes.escape_ascii().to_string();
    assert_eq!(readable(&said.stdout), readable(output.as_ref()));
    assert_eq!(readable(&said.stderr), "");
    assert_eq!(said.status.code(), Some(0));
}

#[track_caller]
fn refuses(arguments: &[&str], input: impl Into<Vec<u8>>, why: &str) {
    let mut command = simple_ipc(["pkt-line"].iter().chain(arguments));
    fails(command.write_stdin(input), 12, why);
}

#[test]
fn text_to_packets_and_back() {
    let text = "command=ls-refs\n0001\npeel\n0002\n0000\n";
    let packets = "0014command=ls-refs\n00010009peel\n00020000";
    gives(&["pack"], text, packets);
    gives(&["unpack"], packets, text);
    gives(&["pack"], "no end", "000ano end");
    gives(&["unpack"], "000ano end", "no end\n");
    gives(&["pack"], "", "");
    gives(&["unpack"], "", "");
    gives(&["pack"], "\n", "0005\n");
}

#[test]
fn escaped_text_is_exact() {
    let packets = b"0008\x000000008000000040007a\n\xff0000";
    let packets = [&packets[..], b"0008abcd"].concat();
    let text = "\\x00000\n\\x30000\n0004\na\\n\\xff\n0000\nabcd\n";
    gives(&["unpack", "--escaped"], packets.clone(), text);
    gives(&["pack", "--escaped"], text, packets);
    refuses(&["pack", "--escaped"], "good\nba\\d\n", "line 2, column 3");
    refuses(&["pack", "--escaped"], "\\x4", "line 1, column 1");
}

#[test]
fn messages() {
    for len in [0, 1, 65515, 65516, 65517, 200_000] {
        let bytes = pattern(len);
        let mut packets: Vec<u8> = Vec::new();
        for payload in bytes.chunks(65516) {
            packets.extend(format!("{:04x}", payload.len() + 4).bytes());
            packets.extend(payload);
        }
        packets.extend(b"0000");
        gives(&["pack", "--message"], bytes.clone(), &packets);
        gives(&["unpack", "--message"], packets, bytes);
    }
    let unpack = ["unpack", "--message"];
    refuses(&unpack, "", "no flush packet");
    refuses(&unpack, "0005a", "no flush packet");
    refuses(&unpack, "0005a0001", "at byte 5: no message contains a delimiter");
    refuses(&unpack, "0005a0002", "at byte 5: no message contains a response-end");
    refuses(&unpack, "0004", "at byte 0: no message contains a packet without data");
    refuses(&unpack, "00000005a", "at byte 4: the message has ended before it");
    refuses(&unpack, "0005a00", "in the packet that begins at byte 5");
}

#[test]
fn side_bands() {
    let packets = "0006\x01a000c\x02almost\n0006\x01b0000";
    let mut command = simple_ipc(["pkt-line", "unpack", "--side-band"]);
    command.write_stdin(packets).assert().success().stdout("ab").stderr("almost\n");
    let mut command = simple_ipc(["pkt-line", "unpack", "--side-band"]);
    let assert = command.write_stdin("000a\x03sorry").assert().code(1).stdout("");
    let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(said.starts_with("sorry") && said.contains("has given up"), "{said}");
    refuses(&["unpack", "--side-band"], "0005a", "opens with 0x61");
}

#[cfg(unix)]
#[test]
fn what_is_aside_comes_in_its_turn() {
    let folder = Folder::new();
    let packets = folder.path("packets");
    std::fs::write(&packets, "0009\x01one\n0009\x02two\n000b\x01three\n0009\x03oops0000").unwrap();
    // Both streams into one.
    let script = "exec \"$0\" pkt-line unpack --side-band \"$1\" 2>&1";
    let mut shell = std::process::Command::new("sh");
    let said = shell.args(["-c", script, PROGRAM]).arg(&packets).output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..4], ["one", "two", "three", "oops"]);
    assert!(lines[4].starts_with("simple-ipc: the other side has given up"), "{said}");
}

#[test]
fn a_listing() {
    let stream = b"0009hello00010000000a\x02 70%\n0006\x01\x00\x30\x30\x30\x34000eERR no way0002";
    let listing = "         0  data              5  \"hello\"
         9  delimiter
        13  flush
        17  data              6  [band 2, progress] \" 70%\\n\"
        27  data              2  [band 1, data] \"\\x00\"
        33  empty
        37  data             10  [error] \"ERR no way\"
        51  response-end
";
    gives(&["inspect"], &stream[..], listing);
    let folder = Folder::new();
    let file = folder.path("stream");
    fs::write(&file, stream).unwrap();
    gives(&["inspect", file.to_str().unwrap()], "", listing);
    gives(&["inspect", "-"], "", "");

    let long = [b"fff0".to_vec(), vec![b'x'; 65516]].concat();
    let mut command = simple_ipc(["pkt-line", "inspect"]);
    let listed = command.write_stdin(long).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.ends_with("xxx\"…\n") && listed.chars().count() <= 121, "{listed}");
}

#[test]
fn malformed_streams_are_listed_up_to_there() {
    for (rest, why) in [
        ("zzzz", "at byte 9: packet header \"zzzz\" is not four hex digits"),
        ("+008", "at byte 9: packet header \"+008\" is not four hex digits"),
        ("0x05", "at byte 9: packet header \"0x05\" is not four hex digits"),
        ("0003", "at byte 9: packet header \"0003\" is a reserved packet length"),
        ("fff1", "at byte 9: packet header \"fff1\" is over the longest packet"),
        (
            "0",
            "in the packet that begins at byte 9: the stream ends inside a packet, 3 bytes \
          short of its header's end",
        ),
        (
            "0008abc",
            "in the packet that begins at byte 9: the stream ends inside a packet, 1 \
          byte short of its end",
        ),
        (
            "0008",
            "in the packet that begins at byte 9: the stream ends inside a packet, 4 bytes \
          short of its end",
        ),
    ] {
        let stream = format!("0005a0000{rest}");
        let listing = "         0  data              1  \"a\"\n         5  flush\n";
        for command in ["inspect", "unpack"] {
            let arguments = ["pkt-line", command];
            let mut run = simple_ipc(arguments);
            fails(run.write_stdin(stream.clone()), 12, why);
            let said = String::from_utf8(run.output().unwrap().stdout).unwrap();
            assert_eq!(said, if command == "inspect" { listing } else { "a\n0000\n" });
        }
    }
    refuses(&["inspect"], "hello", "is it a pkt-line stream at all?");
}

#[test]
fn lines_that_are_too_long() {
    gives(&["pack"], vec![b'x'; 65516], [b"fff0".to_vec(), vec![b'x'; 65516]].concat());
    let why = "line 2 is longer than a packet's 65516 bytes";
    refuses(&["pack"], [b"a\n".to_vec(), vec![b'x'; 65517]].concat(), why);
    refuses(&["pack"], [b"a\n".to_vec(), vec![b'x'; 1_000_000]].concat(), why);
}

#[test]
fn misuse() {
    fails(&mut simple_ipc(["pkt-line", "pack", "-m", "-e"]), 2, "--escaped");
    fails(
        &mut simple_ipc(["pkt-line", "inspect", "/no/such/file"]),
        1,
        "cannot read /no/such/file",
    );
    fails(&mut simple_ipc(["pkt-line", "squash"]), 2, "'squash'");
}
