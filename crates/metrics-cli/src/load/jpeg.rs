//! JPEG files, decoded by libjpeg as nearly all programs do, so that the pixels are those that everybody else scores. libjpeg guesses what
//! damaged data should have been and warns; here a warning is an error. What it does not warn of, a scan that is not there, is found
//! by reading the headers of all scans.

use std::io::{BufRead, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr};

use super::Look;
use super::picture::{Picture, Samples, check_size};

/// Photographs have about ten scans. Each of them is a walk over the whole picture, which a scan of few bytes may ask for too.
const MOST_SCANS: usize = 200;

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const APP14: u8 = 0xee;

/// A frame header.
struct Frame {
    progressive: bool,
    width: u16,
    height: u16,
    /// The identifier of each component.
    components: Vec<u8>,
}

pub(super) fn look(file: &mut (impl BufRead + Seek), max_pixels: u64) -> Result<Look> {
    let frame = first_frame(file)?;
    let pixels = check_size(frame.width.into(), frame.height.into(), max_pixels)?;
    let components = frame.components.len();
    let channels = if components == 1 { 1 } else { 3 };
    // The coefficients of all blocks in two bytes each, samples, and a conversion of four channels to three.
    let memory = pixels.saturating_mul(components as u64 * 4 + 3).saturating_add(1 << 20);
    Ok(Look::picture(frame.width.into(), frame.height.into(), channels, memory).of_integers(255))
}

/// Decodes grey files as grey, and all others as RGB.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture> {
    let Headers { frame, inverted } = Headers::of(bytes)?;
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let space = match frame.components.len() {
        1 => ColorSpace::JCS_GRAYSCALE,
        3 => ColorSpace::JCS_RGB,
        _ => {
            ensure!(inverted, "it is CMYK without Adobe's marker, which leaves open what its numbers mean");
            ColorSpace::JCS_CMYK
        }
    };
    let samples = libjpeg(bytes, space, (width, height))?;
    Ok(match space {
        ColorSpace::JCS_GRAYSCALE => Picture::new(width, height, 1, Samples::U8(samples)),
        ColorSpace::JCS_RGB => Picture::new(width, height, 3, Samples::U8(samples)),
        _ => Picture::new(width, height, 3, Samples::U8(samples.as_chunks().0.iter().flat_map(to_rgb).collect())),
    })
}

/// Light that is left, of 255 for none of an ink: Adobe stores inks so. Without color management this is all that can be said.
fn to_rgb(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    [c, m, y].map(|ink| ((u16::from(ink) * u16::from(k) + 127) / 255) as u8)
}

fn libjpeg(bytes: &[u8], space: ColorSpace, size: (usize, usize)) -> Result<Vec<u8>> {
    // libjpeg's errors and warnings unwind to here, as its wrapper intends, without the hook that prints panics.
    let decoded = catch_unwind(AssertUnwindSafe(|| -> Result<Vec<u8>> {
        let decoder = Decompress::with_err(errors()).from_mem(bytes)?;
        ensure!(decoder.size() == size, "it has two sizes");
        let mut decoder = decoder.to_colorspace(space)?;
        let samples = decoder.read_scanlines()?;
        decoder.finish()?;
        Ok(samples)
    }));
    match decoded {
        Ok(samples) => samples,
        Err(panic) => match panic.downcast::<Fault>() {
            Ok(fault) => Err(anyhow!(*fault)),
            Err(panic) => resume_unwind(panic),
        },
    }
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("its data are damaged or truncated: libjpeg warns of them")]
    Warning,
    #[error("libjpeg cannot decode it")]
    Error,
}

/// What libjpeg calls with errors and warnings. Its texts could only be had through raw pointers.
fn errors() -> jpeg_error_mgr {
    extern "C-unwind" fn exit(_: &mut jpeg_common_struct) {
        resume_unwind(Box::new(Fault::Error));
    }
    extern "C-unwind" fn message(_: &mut jpeg_common_struct, level: i32) {
        // Other levels trace what is read.
        if level < 0 {
            resume_unwind(Box::new(Fault::Warning));
        }
    }
    extern "C-unwind" fn nothing(_: &mut jpeg_common_struct) {}
    extern "C-unwind" fn no_text(_: &mut jpeg_common_struct, _: &[u8; 80]) {}
    jpeg_error_mgr {
        error_exit: Some(exit),
        emit_message: Some(message),
        output_message: Some(nothing),
        format_message: Some(no_text),
        reset_error_mgr: Some(nothing),
        msg_code: 0,
        msg_parm: Default::default(),
        trace_level: 0,
        num_warnings: 0,
        jpeg_message_table: ptr::null(),
        last_jpeg_message: 0,
        addon_message_table: ptr::null(),
        first_addon_message: 0,
        last_addon_message: 0,
    }
}

/// Skips what comes before the frame header, which may be large.
fn first_frame(file: &mut (impl BufRead + Seek)) -> Result<Frame> {
    ensure!([byte(file)?, byte(file)?] == [0xff, SOI], "it does not start as a JPEG file does");
    loop {
        ensure!(byte(file)? == 0xff, "damaged headers");
        let mut marker = byte(file)?;
        while marker == 0xff {
            marker = byte(file)?;
        }
        let length = u16::from_be_bytes([byte(file)?, byte(file)?]).checked_sub(2).context("damaged headers")?;
        if is_frame(marker) {
            let mut segment = vec![0; length.into()];
            file.read_exact(&mut segment).context("the file is truncated before its size")?;
            return Frame::of(marker, &segment);
        }
        ensure!(!matches!(marker, SOS | EOI), "it has no size before its pixels");
        file.seek(SeekFrom::Current(length.into()))?;
    }
}

fn byte(file: &mut impl BufRead) -> Result<u8> {
    let mut byte = [0];
    file.read_exact(&mut byte).context("the file is truncated before its size")?;
    Ok(byte[0])
}

/// Markers of frames; the three others of the row are tables and an extension.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

impl Frame {
    fn of(marker: u8, segment: &[u8]) -> Result<Self> {
        let progressive = match marker {
            0xc0 | 0xc1 => false,
            0xc2 => true,
            0xc3 => bail!("it is a lossless JPEG file, which is not read"),
            // Zeros may be left out at the end of arithmetic codes, so that nobody can see whether data are missing.
            0xc9 | 0xca => bail!("it is a JPEG file with arithmetic coding, which is not read"),
            _ => bail!("it is a JPEG file of a rare kind (frame 0x{marker:x}), which is not read"),
        };
        let (&[precision, h1, h0, w1, w0, count], components) =
            segment.split_first_chunk().context("damaged headers")?;
        ensure!(precision == 8, "it is a JPEG file of {precision} bits, expected 8");
        ensure!(matches!(count, 1 | 3 | 4), "it is a JPEG file of {count} components, expected 1, 3 or 4");
        ensure!(components.len() == 3 * usize::from(count), "damaged headers");
        let components = components.iter().step_by(3).copied().collect();
        let [width, height] = [[w1, w0], [h1, h0]].map(u16::from_be_bytes);
        Ok(Self { progressive, width, height, components })
    }
}

/// What the headers of a file say, all scans included.
struct Headers {
    frame: Frame,
    /// Whether there is Adobe's marker: its inks are stored as what they leave of the light.
    inverted: bool,
}

impl Headers {
    fn of(bytes: &[u8]) -> Result<Self> {
        let (mut frame, mut scans, mut inverted) = (None::<(Frame, Scans)>, 0, false);
        let mut at = 2;
        loop {
            let (marker, next) = next_marker(bytes, at)?;
            at = next;
            if marker == EOI {
                break;
            }
            let length = bytes.get(at..at + 2).context("the file is truncated in a header")?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            let segment = bytes.get(at + 2..at + length).context("the file is truncated in a header")?;
            at += length;
            match marker {
                _ if is_frame(marker) => {
                    ensure!(frame.is_none(), "it has two sizes");
                    let new = Frame::of(marker, segment)?;
                    let scans = Scans::new(&new);
                    frame = Some((new, scans));
                }
                APP14 => inverted |= segment.starts_with(b"Adobe"),
                SOS => {
                    scans += 1;
                    ensure!(scans <= MOST_SCANS, "it has more than {MOST_SCANS} scans");
                    let (frame, seen) = frame.as_mut().context("it has no size before its pixels")?;
                    seen.add(frame, segment)?;
                }
                _ => {}
            }
        }
        let (frame, scans) = frame.context("it has no picture")?;
        ensure!(scans.are_complete(), "some of its scans are missing");
        Ok(Self { frame, inverted })
    }
}

/// The next marker that is not of the coded data, and where its segment begins.
fn next_marker(bytes: &[u8], mut at: usize) -> Result<(u8, usize)> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let found =
            rest.iter().position(|&byte| byte == 0xff).context("the file is truncated: it has no end marker")?;
        at += found + 1;
        match bytes.get(at) {
            // A byte of data that is 255, restarts, and padding.
            Some(0 | 0x01 | 0xd0..=0xd7) => at += 1,
            Some(0xff) | None => {}
            Some(&marker) => return Ok((marker, at + 1)),
        }
    }
}

/// How exactly the scans so far give each coefficient of each component: how many bits are missing, 255 before the first scan.
struct Scans(Vec<[u8; 64]>);

impl Scans {
    fn new(frame: &Frame) -> Self {
        Self(vec![[u8::MAX; 64]; frame.components.len()])
    }

    fn add(&mut self, frame: &Frame, segment: &[u8]) -> Result<()> {
        let (&count, rest) = segment.split_first().context("damaged headers")?;
        let (components, rest) = rest.split_at_checked(2 * usize::from(count)).context("damaged headers")?;
        let &[first, last, bits] = rest.first_chunk().context("damaged headers")?;
        for id in components.iter().step_by(2) {
            let index = frame.components.iter().position(|other| other == id).context("a scan is of no component")?;
            // Without progression a scan gives all of a component.
            let (range, missing) =
                if frame.progressive { (first.into()..=last.into(), bits & 15) } else { (0usize..=63, 0) };
            self.0[index].get_mut(range).context("damaged headers")?.fill(missing);
        }
        Ok(())
    }

    fn are_complete(&self) -> bool {
        self.0.iter().flatten().all(|&missing| missing == 0)
    }
}
