//! One photo in, one stylised photo out: streamgen.v1 from docs/protocol.md alone, without any crate.
//! `rustc -O stranger.rs && ./stranger 127.0.0.1:8188 photo.jpg 640 480 stylised.jpg '{"prompt": "ink"}' [TOKEN]`
//! `./stranger --headers` reads binary messages as lines of hex, and prints what they say or what is wrong with them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::{env, error::Error, fs, net::TcpStream, time::SystemTime};

/// Offset and size of the header's numbers, from `kind` to `encode_us`.
const NUMBERS: [(usize, usize); 12] =
    [(3, 1), (4, 1), (5, 1), (8, 4), (12, 4), (16, 4), (20, 2), (22, 2), (24, 8), (32, 4), (36, 4), (40, 4)];

fn number(header: &[u8], at: usize, size: usize) -> u64 {
    header[at..at + size].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// The picture behind a header, or the error code.
fn picture(message: &[u8]) -> Result<&[u8], &'static str> {
    let header = message.get(..48).ok_or("truncated_header")?;
    let [length, width, height] = [6, 20, 22].map(|at| number(header, at, 2) as usize);
    match message {
        _ if &message[..2] != b"SG" => Err("bad_magic"),
        _ if message[2] != 1 => Err("unsupported_version"),
        _ if length < 48 || length > message.len() => Err("bad_header_length"),
        _ if !(1..=3).contains(&message[3]) => Err("unknown_kind"),
        _ if !(1..=3).contains(&message[4]) => Err("unknown_codec"),
        _ if width * height == 0 => Err("bad_size"),
        _ if width * height > 4_000_000 => Err("frame_too_large"),
        _ if length == message.len() => Err("empty_payload"),
        _ => Ok(&message[length..]),
    }
}

/// The `type` of a text message, and not one of an object inside it.
fn type_of(json: &str) -> String {
    let plain = json.replace(r"\\", "").replace(r#"\""#, "");
    let parts: Vec<&str> = plain.split('"').collect(); // in turn what is outside and inside of quotes
    let mut depth = 0;
    for at in 0..parts.len().saturating_sub(2) {
        if at % 2 == 0 {
            depth += parts[at].matches('{').count() as isize - parts[at].matches('}').count() as isize;
        } else if depth == 1 && parts[at] == "type" && parts[at + 1].trim() == ":" {
            return parts[at + 2].to_string();
        }
    }
    String::new()
}

fn send(stream: &mut TcpStream, opcode: u8, data: impl AsRef<[u8]>) -> io::Result<()> {
    let data = data.as_ref();
    let mask = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos().to_be_bytes();
    let length = (data.len() as u64).to_be_bytes();
    let size = data.len();
    let (short, long) = if size < 126 { (length[7], 8) } else if size < 65536 { (126, 6) } else { (127, 0) };
    let masked = data.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key).collect::<Vec<u8>>();
    stream.write_all(&[&[0x80 | opcode, 0x80 | short], &length[long..], &mask, &masked].concat())
}

/// The next whole message: 1 and a text, 2 and a binary message, or 8 and a close code.
fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<(u8, Vec<u8>)> {
    let (mut opcode, mut message) = (0, Vec::new());
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head)?;
        let mut length = [0, 0, 0, 0, 0, 0, 0, head[1]];
        stream.read_exact(&mut length[[8, 6, 0][usize::from(head[1].saturating_sub(125))]..])?; // 126: 2, 127: 8 bytes
        let mut part = vec![0; u64::from_be_bytes(length) as usize];
        stream.read_exact(&mut part)?;
        match head[0] & 15 {
            9 => send(stream.get_mut(), 10, &part)?, // a ping
            10 => {}
            kind => (opcode, message) = (opcode.max(kind), [message, part].concat()), // a continuation is 0
        }
        if head[0] >= 0x80 && head[0] & 15 < 9 {
            return Ok((opcode, message));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let given: Vec<String> = env::args().skip(1).collect();
    if given.first().is_some_and(|mode| mode == "--headers") {
        for line in io::stdin().lines().map_while(Result::ok) {
            let byte = |at| u8::from_str_radix(&line[at..at + 2], 16);
            let message = (0..line.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, _>>()?;
            let said = |_| NUMBERS.map(|(at, size)| number(&message, at, size).to_string()).join(" ");
            println!("{}", picture(&message).map_or_else(str::to_string, said));
        }
        return Ok(());
    }
    let [host, photo, width, height, target, settings, token @ ..] = &given[..] else { return Err("see above".into()) };
    let mut stream = BufReader::new(TcpStream::connect(host)?);
    let token = token.first().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n";
    let offer = "Sec-WebSocket-Key: YSBzdHJhbmdlcidzIGtleQ==\r\nSec-WebSocket-Protocol: streamgen.v1\r\n";
    write!(stream.get_mut(), "GET /ws HTTP/1.1\r\nHost: {host}\r\n{upgrade}{offer}{token}\r\n")?;
    while stream.by_ref().lines().next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    send(stream.get_mut(), 1, format!(r#"{{"type": "hello", "client": "stranger", "settings": {settings}}}"#))?;
    loop {
        let (opcode, message) = receive(&mut stream)?;
        let text = String::from_utf8_lossy(if opcode == 1 { &message } else { &[] });
        match (opcode, type_of(&text).as_str()) {
            (8, _) => {
                let code = message.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                return Err(format!("closed with {code}").into());
            }
            (1, "error") => return Err(text.into()),
            (1, "welcome") => {
                let size = [width.parse::<u16>()?, height.parse()?].map(u16::to_le_bytes).concat();
                let header = [&b"SG\x01\x01\x01\0\x30\0"[..], &[0; 12], &size, &[0; 24]].concat();
                send(stream.get_mut(), 2, [header, fs::read(photo)?].concat())?;
            }
            (2, _) if message[3] == 2 => {
                send(stream.get_mut(), 1, format!(r#"{{"type": "ack", "seq": {}}}"#, number(&message, 8, 4)))?;
                send(stream.get_mut(), 1, r#"{"type": "bye"}"#)?;
                return Ok(fs::write(target, picture(&message)?)?);
            }
            _ => {}
        }
    }
}
