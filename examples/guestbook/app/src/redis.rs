//! As much of the Redis protocol as a guestbook needs.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{Duration, timeout},
};

const PATIENCE: Duration = Duration::from_secs(5);

enum Reply {
    Text,
    Bulk(Vec<u8>),
    Many(usize),
}

/// A command as an array of bulk strings.
fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

async fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(io::ErrorKind::InvalidData)?;
    let number = || rest.parse::<i64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    Ok(match kind {
        "+" | ":" => Reply::Text,
        "-" => return Err(io::Error::other(rest.to_owned())),
        "*" => Reply::Many(number()?.max(0) as usize),
        "$" => {
            let length = number()?.max(0) as usize;
            let mut bytes = vec![0; length + 2];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Reply::Bulk(bytes)
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    })
}

async fn ask(address: &str, parts: &[&[u8]]) -> io::Result<Vec<Vec<u8>>> {
    let exchange = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.write_all(&command(parts)).await?;
        let mut values = Vec::new();
        match reply(&mut stream).await? {
            Reply::Text => {}
            Reply::Bulk(bytes) => values.push(bytes),
            Reply::Many(count) => {
                for _ in 0..count {
                    if let Reply::Bulk(bytes) = reply(&mut stream).await? {
                        values.push(bytes);
                    }
                }
            }
        }
        Ok(values)
    };
    timeout(PATIENCE, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// All elements of a list.
pub async fn list(address: &str, key: &str) -> io::Result<Vec<Vec<u8>>> {
    ask(address, &[b"LRANGE", key.as_bytes(), b"0", b"-1"]).await
}

/// Adds an element to a list.
pub async fn push(address: &str, key: &str, value: &[u8]) -> io::Result<()> {
    ask(address, &[b"RPUSH", key.as_bytes(), value]).await.map(drop)
}

/// Whether Redis answers.
pub async fn ping(address: &str) -> io::Result<()> {
    ask(address, &[b"PING"]).await.map(drop)
}

#[cfg(test)]
mod tests {
    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(super::command(&[b"PING"]), b"*1\r\n$4\r\nPING\r\n");
    }
}
