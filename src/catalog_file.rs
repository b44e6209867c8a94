//! Reads the catalogue's file, and bounds what it reads.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use bytes::Bytes;

use crate::domain::catalog::{MAX_FILE_BYTES, Problems};

/// How much is read before the first look.
const HEAD_BYTES: u64 = 64 * 1024;

/// The bytes of a catalogue, at most 1 GiB. Pipes and devices may be read too; what cannot be JSON by its
/// first character is not read further, so that even /dev/zero ends at once.
pub fn read(path: &Path) -> Result<Bytes, Problems> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| {
        let (message, hint) = match error.kind() {
            ErrorKind::NotFound => ("no such file".into(), "name the catalogue with --file or KORCH_FILE"),
            ErrorKind::PermissionDenied => ("no permission to read it".into(), "chmod +r, or run as its owner"),
            ErrorKind::IsADirectory => ("it is a directory, not a file".into(), "name the file inside it: Objets.json"),
            _ => (format!("cannot be read: {error}"), "look at the file and at the disk it is on"),
        };
        Problems::one(&name, message, hint)
    };
    let too_large = |len: String| {
        Problems::one(&name, format!("the file is too large: {len}, at most 1 GiB is read"), "is it a catalogue at all?")
    };

    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(too_large(format!("{} bytes", about.len())));
    }
    // One byte more than the metadata says, so that the end is seen without growing the buffer.
    let mut bytes = Vec::with_capacity(about.len() as usize + 1);
    (&file).take(HEAD_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    if may_be_json(&bytes) {
        let rest = MAX_FILE_BYTES + 1 - bytes.len() as u64;
        (&file).take(rest).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large("it goes on beyond that".into()));
    }
    Ok(Bytes::from(bytes))
}

/// Whether JSON can begin so.
fn may_be_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(first) => matches!(first, b'[' | b'{' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'),
        None => true,
    }
}
