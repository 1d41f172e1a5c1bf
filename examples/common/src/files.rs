//! What is stored: files of the user's, or made up.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use peerhold_host::peerhold_core::Name;

use crate::Failure;
use crate::args::Args;

/// Pictures that are drawn if nothing else is asked for.
const PICTURES: u32 = 20;
const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

/// One file to store.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: Name,
    pub(crate) size: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Disk(PathBuf),
    Picture(u32),
    Noise(u64),
}

impl Source {
    /// Opens it for reading from its start.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match &self.kind {
            Kind::Disk(path) => Box::new(File::open(path)?),
            Kind::Picture(number) => Box::new(io::Cursor::new(picture(*number))),
            Kind::Noise(seed) => Box::new(Noise {
                state: *seed,
                left: self.size,
            }),
        })
    }
}

/// What the command line asks for.
pub(crate) fn gather(args: &Args) -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in &args.paths {
        let name = path
            .file_name()
            .map_or_else(|| ".".into(), |name| name.to_string_lossy().into_owned());
        walk(path, &name, &mut files)?;
    }
    if let Some(size) = args.size {
        for number in 0..args.count {
            let seed = number as u64 + 1;
            files.push(Source {
                name: name(&format!("noise_{number}"))?,
                size,
                kind: Kind::Noise(seed),
            });
        }
    } else if args.paths.is_empty() {
        for number in 0..PICTURES {
            let size = picture(number).len() as u64;
            files.push(Source {
                name: name(&format!("picture_{number}.bmp"))?,
                size,
                kind: Kind::Picture(number),
            });
        }
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = files.iter().find(|file| !names.insert(file.name.as_str())) {
        let name = twice.name.as_str();
        return Err(Failure::Usage(format!(
            "two of the files named would be stored as `{name}`; name them in two runs"
        )));
    }
    if files.is_empty() {
        return Err(Failure::Usage("there is no file in what was named".into()));
    }
    Ok(files)
}

fn name(text: &str) -> Result<Name, Failure> {
    Name::new(text)
        .map_err(|error| Failure::Usage(format!("`{text}` cannot be a file's name: {error}")))
}

fn walk(path: &Path, as_name: &str, files: &mut Vec<Source>) -> Result<(), Failure> {
    // Escaped: a path may hold what a terminal takes for orders.
    let wrong = |error: io::Error| Failure::Usage(format!("{path:?}: {error}"));
    let meta = fs::metadata(path).map_err(wrong)?;
    if meta.is_dir() {
        let mut entries = fs::read_dir(path)
            .map_err(wrong)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            // A link inside a folder may lead in a circle.
            if entry.file_type().map_err(wrong)?.is_symlink() {
                continue;
            }
            let child = format!("{as_name}/{}", entry.file_name().to_string_lossy());
            walk(&entry.path(), &child, files)?;
        }
        return Ok(());
    }
    if !meta.is_file() {
        return Err(Failure::Usage(format!(
            "{path:?} is neither a file nor a folder"
        )));
    }
    // What cannot be read is found out before anything is stored.
    File::open(path).map_err(wrong)?;
    files.push(Source {
        name: name(as_name)?,
        size: meta.len(),
        kind: Kind::Disk(path.to_owned()),
    });
    Ok(())
}

/// A picture in the BMP format, 24 bits a pixel: rings around a place that
/// moves from picture to picture.
fn picture(number: u32) -> Vec<u8> {
    let pixels = WIDTH * HEIGHT * 3;
    let mut bytes = Vec::with_capacity(54 + pixels as usize);
    bytes.extend_from_slice(b"BM");
    for field in [
        54 + pixels,
        0,
        54,
        40,
        WIDTH,
        HEIGHT,
        1 | 24 << 16,
        0,
        pixels,
        2835,
        2835,
        0,
        0,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    let (x0, y0) = (
        WIDTH * (number + 1) / (PICTURES + 1),
        HEIGHT * (number % 5 + 1) / 6,
    );
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let distance = x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2);
            let ring = (distance / (200 + 10 * number)) as u8;
            bytes.extend_from_slice(&[ring.wrapping_mul(7), ring ^ number as u8, 255 - ring]);
        }
    }
    bytes
}

/// Bytes that do not repeat and differ from seed to seed: xorshift64 (Marsaglia,
/// 2003).
struct Noise {
    state: u64,
    left: u64,
}

impl Read for Noise {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        for part in buf[..len].chunks_mut(8) {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let bytes = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
            part.copy_from_slice(&bytes[..part.len()]);
        }
        self.left -= len as u64;
        Ok(len)
    }
}
