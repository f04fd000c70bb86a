//! Redis' wire protocol, version 2 ("Redis serialization protocol specification").
//!
//! As much of it as CONFIG_DB needs, which is little: the usual client crate brings 36 others, most of them for URLs
//! in all the world's alphabets, to a binary that has to fit a switch.
//!
//! [`parse`] never panics, whatever the bytes; what claims to be longer than any reply can be is [`Malformed`].

use std::fmt;

/// No reply is as long, in bytes; nor has a command as many.
const LONGEST: usize = 64 << 20;
/// No status, error or number is as long, in bytes.
const LONGEST_LINE: usize = 64 << 10;
/// No reply nests as deep: EXEC's is an array of arrays.
const DEEPEST: usize = 8;

/// A reply of the server, or a message to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// `+OK`.
    Status(String),
    /// `-ERR …`.
    Error(String),
    /// `:1`.
    Integer(i64),
    /// `$5 …`. What is not UTF-8 in it is replaced: no key or field of CONFIG_DB has such.
    Text(String),
    /// `*2 …`.
    Array(Vec<Reply>),
    /// `$-1` or `*-1`: there is no such thing, or the transaction was not carried out.
    Nil,
}

/// Bytes that are not of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not speak Redis' protocol: {0}")]
pub(super) struct Malformed(&'static str);

/// Appends a command: an array of texts.
pub(super) fn encode<T: AsRef<str>>(command: &[T], out: &mut Vec<u8>) {
    let header = |mark: char, length: usize, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{mark}{length}\r\n").as_bytes());
    };
    header('*', command.len(), out);
    for word in command {
        let word = word.as_ref();
        header('$', word.len(), out);
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// The reply that the bytes begin with, and how many bytes it has; none if it is not all there yet.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut reader = Reader { bytes, at: 0 };
    let reply = reader.reply(0)?;
    if reply.is_none() && bytes.len() > LONGEST {
        return Err(Malformed("the reply is too long"));
    }
    Ok(reply.map(|reply| (reply, reader.at)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> Result<Option<&'a str>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
            return if rest.len() > LONGEST_LINE { Err(Malformed("a line is too long")) } else { Ok(None) };
        };
        self.at += end + 2;
        std::str::from_utf8(&rest[..end]).map(Some).map_err(|_| Malformed("a line is not text"))
    }

    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, Malformed> {
        let Some(line) = self.line()? else { return Ok(None) };
        let mut rest = line.chars();
        let mark = rest.next();
        let rest = rest.as_str();
        let length = || match rest.parse::<i64>() {
            Ok(-1) => Ok(None),
            Ok(length) if (0..=LONGEST as i64).contains(&length) => Ok(Some(length as usize)),
            _ => Err(Malformed("a length is not one")),
        };
        Ok(Some(match mark {
            Some('+') => Reply::Status(rest.to_owned()),
            Some('-') => Reply::Error(rest.to_owned()),
            Some(':') => Reply::Integer(rest.parse().map_err(|_| Malformed("a number is not one"))?),
            Some('$') => match length()? {
                None => Reply::Nil,
                Some(length) => match self.text(length)? {
                    Some(text) => Reply::Text(text),
                    None => return Ok(None),
                },
            },
            Some('*') => match length()? {
                None => Reply::Nil,
                Some(_) if depth == DEEPEST => return Err(Malformed("arrays are nested too deep")),
                Some(length) => {
                    // Not reserved: the length is only what the other side says.
                    let mut items = Vec::new();
                    for _ in 0..length {
                        match self.reply(depth + 1)? {
                            Some(item) => items.push(item),
                            None => return Ok(None),
                        }
                    }
                    Reply::Array(items)
                }
            },
            _ => return Err(Malformed("a reply begins with none of + - : $ *")),
        }))
    }

    fn text(&mut self, length: usize) -> Result<Option<String>, Malformed> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.get(length..length + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(Malformed("a text is longer than it says"));
        }
        self.at += length + 2;
        Ok(Some(String::from_utf8_lossy(&rest[..length]).into_owned()))
    }
}

impl Reply {
    /// The texts of an array of texts.
    pub(super) fn texts(self) -> Option<Vec<String>> {
        let Reply::Array(items) = self else { return None };
        let text = |item| match item {
            Reply::Text(text) => Some(text),
            _ => None,
        };
        items.into_iter().map(text).collect()
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Status(text) | Reply::Error(text) | Reply::Text(text) => out.write_str(text),
            Reply::Integer(number) => write!(out, "{number}"),
            Reply::Array(items) => write!(out, "{} items", items.len()),
            Reply::Nil => out.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each kind of reply, as the specification has it.
    fn examples() -> Vec<(&'static [u8], Reply)> {
        let text = |text: &str| Reply::Text(text.to_owned());
        let error = "ERR unknown command 'NO', with args beginning with: ";
        vec![
            (b"+OK\r\n", Reply::Status("OK".to_owned())),
            (b"-ERR unknown command 'NO', with args beginning with: \r\n", Reply::Error(error.to_owned())),
            (b":-3\r\n", Reply::Integer(-3)),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"$7\r\nVlan\r\n1\r\n", text("Vlan\r\n1")),
            (
                b"*2\r\n*1\r\n$2\r\nhi\r\n*0\r\n",
                Reply::Array(vec![Reply::Array(vec![text("hi")]), Reply::Array(vec![])]),
            ),
        ]
    }

    #[test]
    fn replies_are_read_and_what_is_cut_short_is_waited_for() {
        for (bytes, reply) in examples() {
            let more = [bytes, b"+next\r\n"].concat();
            assert_eq!(parse(&more), Ok(Some((reply, bytes.len()))));
            for short in 0..bytes.len() {
                assert_eq!(parse(&bytes[..short]), Ok(None), "{:?}", &bytes[..short]);
            }
        }
    }

    #[test]
    fn what_is_not_of_the_protocol_is_an_error() {
        let deep = "*1\r\n".repeat(10);
        let endless = "+".repeat(LONGEST_LINE + 2);
        for bytes in [
            "HTTP/1.1 400\r\n",
            "$x\r\n",
            "$-2\r\n",
            "$99999999999\r\n",
            ":a\r\n",
            "\r\n",
            "$1\r\nab\r\n",
            &deep,
            &endless,
        ] {
            assert!(parse(bytes.as_bytes()).is_err(), "{bytes}");
        }
        assert!(parse(b"+\xff\r\n").is_err());
    }

    #[test]
    fn a_command_is_an_array_of_texts() {
        let mut bytes = Vec::new();
        encode(&["HSET", "VLAN|Vlan7", "vlanid", "7"], &mut bytes);
        assert_eq!(bytes, b"*4\r\n$4\r\nHSET\r\n$10\r\nVLAN|Vlan7\r\n$6\r\nvlanid\r\n$1\r\n7\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"*$+-:019\r\n".to_vec())], 0..80)) {
            if let Ok(Some((_, length))) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }

        #[test]
        fn a_command_reads_as_its_words(words in prop::collection::vec(".{0,12}", 1..6)) {
            let mut bytes = Vec::new();
            encode(&words, &mut bytes);
            let (reply, length) = parse(&bytes).unwrap().unwrap();
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!(reply.texts(), Some(words));
        }
    }
}
