//! What a process gives to a sync: its state and what it is of, or why it has none to give.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Error, Fingerprint, Result};

/// What every payload of every version begins with; the version and the end of the line follow.
const FORMAT: &str = "candle-metrics sync ";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What one process gives.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(crate) members: Vec<Member>,
    /// The samples' keys, if the user gives any.
    pub(crate) keys: Option<Vec<u64>>,
    /// A checkpoint, as a message.
    pub(crate) state: Cow<'a, [u8]>,
}

/// What one member of a collection is, as text.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) fingerprint: Fingerprint,
    /// What its state declares, which the fingerprint need not tell.
    pub(crate) layout: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Why there is no state.
    error: Option<String>,
    members: Vec<Member>,
    keys: Option<usize>,
}

/// A process takes part even if it has only an error to give, so that no other waits for it in vain.
pub(crate) fn encode(payload: Result<Payload<'_>>) -> Vec<u8> {
    let (error, Payload { members, keys, state }) = match payload {
        Ok(payload) => (None, payload),
        Err(error) => (Some(error.to_string()), Payload { members: Vec::new(), keys: None, state: Cow::default() }),
    };
    let header = Header { error, members, keys: keys.as_ref().map(Vec::len) };
    // Maps with keys that are not text could fail, but there are none.
    let header = serde_json::to_string(&header).unwrap_or_default();
    let keys = keys.iter().flatten().map(|key| key.to_le_bytes()).collect::<Vec<_>>().into_flattened();
    [format!("{FORMAT}{VERSION}\n{header}\n").as_bytes(), &keys, &state].concat()
}

/// What rank 0 answers: the state of all, or why there is none. Every version of the library must understand the latter.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    State,
    /// An error of this rank, or of no particular one.
    Error {
        rank: Option<usize>,
        message: String,
    },
}

impl Answer {
    pub(crate) fn encode(united: Result<&[u8], &Error>) -> Vec<u8> {
        let error = |rank, message: &str| Self::Error { rank, message: message.into() };
        let (answer, state) = match united {
            Ok(state) => (Self::State, state),
            Err(Error::Sync { rank, message }) => (error(Some(*rank), message), &[][..]),
            Err(Error::Collective { message }) => (error(None, message), &[][..]),
            Err(other) => (error(Some(0), &other.to_string()), &[][..]),
        };
        let answer = serde_json::to_string(&answer).unwrap_or_default();
        [answer.as_bytes(), b"\n", state].concat()
    }

    /// The state of all.
    pub(crate) fn decode(bytes: &[u8]) -> Result<&[u8]> {
        let damaged = || Error::sync(0, "what it answered is damaged");
        let (answer, state) = line(bytes).ok_or_else(damaged)?;
        match serde_json::from_slice(answer).map_err(|_| damaged())? {
            Self::State => Ok(state),
            Self::Error { rank: Some(rank), message } => Err(Error::sync(rank, message)),
            Self::Error { rank: None, message } => Err(Error::collective(message)),
        }
    }
}

/// What all processes gave, if it can be put together.
pub(crate) fn decode(payloads: &[Vec<u8>]) -> Result<Vec<Payload<'_>>> {
    let mut lines = Vec::with_capacity(payloads.len());
    for (rank, payload) in payloads.iter().enumerate() {
        let foreign =
            || Error::sync(rank, "what it gave is not of a sync of this library: do all run the same program?");
        lines.push(split(payload).ok_or_else(foreign)?);
    }
    let (ours, _) = lines.first().ok_or_else(|| Error::collective("nobody gave anything"))?;
    for (rank, (version, _)) in lines.iter().enumerate() {
        if version != ours {
            return Err(Error::sync(
                rank,
                format!("its version of the library is {version}, but that of rank 0 is {ours}"),
            ));
        }
    }
    lines.iter().enumerate().map(|(rank, (_, rest))| parse(rank, rest)).collect()
}

/// Version and the rest.
fn split(payload: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = line(payload.strip_prefix(FORMAT.as_bytes())?)?;
    Some((std::str::from_utf8(version).ok()?, rest))
}

fn parse(rank: usize, bytes: &[u8]) -> Result<Payload<'_>> {
    let damaged = || Error::sync(rank, "what it gave is damaged");
    let (header, rest) = line(bytes).ok_or_else(damaged)?;
    let Header { error, members, keys } = serde_json::from_slice(header).map_err(|_| damaged())?;
    if let Some(error) = error {
        return Err(Error::sync(rank, error));
    }
    let (words, state) = rest.split_at_checked(keys.unwrap_or(0).saturating_mul(8)).ok_or_else(damaged)?;
    let (words, _) = words.as_chunks();
    let keys = keys.map(|_| words.iter().copied().map(u64::from_le_bytes).collect());
    Ok(Payload { members, keys, state: Cow::Borrowed(state) })
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}
