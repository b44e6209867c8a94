//! Reads the catalogue's file, and bounds what it reads.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use crate::domain::catalog::MAX_FILE_BYTES;
use crate::domain::problem::Problems;

/// How much is read before the first look.
const HEAD_BYTES: u64 = 64 * 1024;
/// Files above this are read in parts.
const LARGE_BYTES: u64 = 8 << 20;

/// The bytes of a catalogue, at most 1 GiB. Pipes and devices may be read too; what cannot be JSON by its
/// first character is not read further, so that even /dev/zero ends at once.
pub fn read(path: &Path) -> Result<Bytes, Problems> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| {
        let (message, hint) = match error.kind() {
            ErrorKind::NotFound => ("no such file".into(), "name the catalogue with --file or KORCH_FILE"),
            ErrorKind::PermissionDenied => {
                ("no permission to read it".into(), "chmod +r, or run as its owner")
            }
            ErrorKind::IsADirectory => {
                ("it is a directory, not a file".into(), "name the file inside it: Objets.json")
            }
            _ => (format!("cannot be read: {error}"), "look at the file and at the disk it is on"),
        };
        Problems::one(&name, message, hint)
    };
    let too_large = |len: String| {
        Problems::one(
            &name,
            format!("the file is too large: {len}, at most 1 GiB is read"),
            "is it a catalogue at all?",
        )
    };

    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(too_large(format!("{} bytes", about.len())));
    }
    let mut head = Vec::new();
    (&file).take(HEAD_BYTES).read_to_end(&mut head).map_err(failed)?;
    if !may_be_json(&head) {
        return Ok(Bytes::from(head));
    }
    if about.is_file() && about.len() > LARGE_BYTES {
        return read_in_parts(&file, about.len() as usize).map(Bytes::from).map_err(failed);
    }
    // One byte more than the metadata says, so that the end is seen without growing the buffer.
    let mut bytes = Vec::with_capacity(about.len() as usize + 1);
    bytes.append(&mut head);
    let rest = MAX_FILE_BYTES + 1 - bytes.len() as u64;
    (&file).take(rest).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large("it goes on beyond that".into()));
    }
    Ok(Bytes::from(bytes))
}

/// Reads the file by several threads, each its part: most of the time goes into copying to fresh memory.
fn read_in_parts(file: &File, len: usize) -> std::io::Result<Vec<u8>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let part_len = len.div_ceil(threads);
    let mut bytes = vec![0; len];
    std::thread::scope(|scope| {
        let parts = bytes.chunks_mut(part_len).enumerate();
        let reads: Vec<_> = parts
            .map(|(i, part)| scope.spawn(move || file.read_exact_at(part, (i * part_len) as u64)))
            .collect();
        reads.into_iter().try_for_each(|read| read.join().unwrap_or_else(|_| Err(ErrorKind::Other.into())))
    })?;
    Ok(bytes)
}

/// Whether JSON can begin so.
fn may_be_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(first) => matches!(first, b'[' | b'{' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'),
        None => true,
    }
}
