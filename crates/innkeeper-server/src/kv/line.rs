//! Takes lines out of a stream of bytes, none longer than a bound.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What a connection brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its end, now in the buffer.
    Whole,
    /// More than a line may have, without an end.
    TooLong,
    /// Nothing more comes. What had no end is no line.
    End,
}

/// Reads the next line into `line`.
///
/// # Errors
/// What the stream says.
///
/// # Cancel safety
/// None: what was read of a line is lost.
pub async fn read(
    stream: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
    bytes_max: usize,
) -> io::Result<Line> {
    line.clear();
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(Line::End);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if line.len() + part.len() > bytes_max {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        stream.consume(used);
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Line::Whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn lines(bytes: &[u8], buffer: usize, bytes_max: usize) -> (Vec<String>, Line) {
        let mut stream = BufReader::with_capacity(buffer, bytes);
        let (mut line, mut lines) = (Vec::new(), Vec::new());
        loop {
            match read(&mut stream, &mut line, bytes_max).await.unwrap() {
                Line::Whole => lines.push(String::from_utf8(line.clone()).unwrap()),
                end => return (lines, end),
            }
        }
    }

    #[tokio::test]
    async fn lines_end_in_lf_or_crlf_however_they_are_cut_up() {
        for buffer in [1, 2, 3, 100] {
            let (lines, end) = lines(b"one\ntwo\r\n\r\nhalf", buffer, 10).await;
            assert_eq!((lines, end), (vec!["one".into(), "two".into(), String::new()], Line::End));
        }
    }

    #[tokio::test]
    async fn a_line_of_the_bound_is_whole_and_one_more_byte_is_too_long() {
        assert_eq!(lines(b"12345\n", 2, 5).await, (vec!["12345".into()], Line::End));
        assert_eq!(lines(b"123456\n", 2, 5).await, (vec![], Line::TooLong));
    }
}
