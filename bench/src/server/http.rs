//! Requests over one connection of HTTP/1.1, as a page of the dashboard makes them, and many of
//! them in one write.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept for the next request.
pub(super) struct Http {
    stream: TcpStream,
    address: String,
    read: Vec<u8>,
}

impl Http {
    pub(super) async fn connect(address: &str) -> io::Result<Http> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Http { stream, address: address.to_owned(), read: Vec::new() })
    }

    /// How long it took until the last byte of the answer had come.
    ///
    /// # Errors
    /// Any answer but 200 is one.
    pub(super) async fn get(&mut self, path: &str) -> io::Result<Duration> {
        let began = Instant::now();
        self.send("GET", path).await?;
        self.answer().await?;
        Ok(began.elapsed())
    }

    /// Sends a `POST` for each of these, and waits for their answers.
    ///
    /// # Errors
    /// As with [`get`](Http::get).
    pub(super) async fn post_each(&mut self, paths: &[String]) -> io::Result<()> {
        let mut requests = String::new();
        for path in paths {
            requests += &self.request("POST", path);
        }
        self.stream.write_all(requests.as_bytes()).await?;
        for _ in paths {
            self.answer().await?;
        }
        Ok(())
    }

    /// Asks for a stream without an end and reads until it has begun. It ends with the connection.
    pub(super) async fn listen(&mut self, path: &str) -> io::Result<()> {
        self.send("GET", path).await?;
        self.head().await.map(drop)
    }

    async fn send(&mut self, method: &str, path: &str) -> io::Result<()> {
        let request = self.request(method, path);
        self.stream.write_all(request.as_bytes()).await
    }

    fn request(&self, method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address)
    }

    async fn answer(&mut self) -> io::Result<()> {
        let head = self.head().await?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        while self.read.len() < length {
            self.more().await?;
        }
        self.read.drain(..length);
        Ok(())
    }

    /// What comes before a body.
    async fn head(&mut self) -> io::Result<String> {
        const END: &[u8] = b"\r\n\r\n";
        let end = loop {
            match self.read.windows(END.len()).position(|bytes| bytes == END) {
                Some(end) => break end + END.len(),
                None => self.more().await?,
            }
        };
        let rest = self.read.split_off(end);
        let head = std::mem::replace(&mut self.read, rest);
        let head = String::from_utf8_lossy(&head).into_owned();
        if head.starts_with("HTTP/1.1 200") { Ok(head) } else { Err(io::Error::other(head)) }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::Error::other("the server hung up")),
            _ => Ok(()),
        }
    }
}
