//! What kind of file a file is.

use std::io::{BufRead, Seek};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Image, Look, bmp, exr, hdr, jpeg, npy, png, pnm, safetensor, tiff, webp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    WebP,
    Tiff,
    Bmp,
    Pnm,
    Exr,
    Hdr,
    Npy,
    Safetensors,
}

impl Format {
    /// Arrays are known by their names, pictures by their first bytes.
    pub(super) fn of(path: &Path, start: &[u8]) -> Result<Self> {
        match super::extension(path).as_deref() {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Self::of_picture(start).context("The image format could not be determined"),
        }
    }

    pub(super) fn of_picture(start: &[u8]) -> Option<Self> {
        let begins = |text: &[u8]| start.starts_with(text);
        Some(match start {
            _ if begins(b"\x89PNG\r\n\x1a\n") => Self::Png,
            _ if begins(b"\xff\xd8\xff") => Self::Jpeg,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Self::WebP,
            _ if begins(b"II*\0") || begins(b"MM\0*") || begins(b"II+\0") || begins(b"MM\0+") => Self::Tiff,
            _ if begins(b"BM") => Self::Bmp,
            [b'P', b'1'..=b'7', next, ..] if next.is_ascii_whitespace() || *next == b'#' => Self::Pnm,
            _ if begins(b"\x76\x2f\x31\x01") => Self::Exr,
            _ if begins(b"#?RADIANCE") => Self::Hdr,
            _ => return None,
        })
    }

    /// What the header says, of which nothing is believed before it has been compared with the limits.
    pub(super) fn look(self, file: &mut (impl BufRead + Seek), length: u64, max_pixels: u64) -> Result<Look> {
        match self {
            Self::Png => png::look(file, max_pixels),
            Self::Jpeg => jpeg::look(file, max_pixels),
            Self::WebP => webp::look(file, length, max_pixels),
            Self::Tiff => tiff::look(file, length, max_pixels),
            Self::Bmp => bmp::look(file, max_pixels),
            Self::Pnm => pnm::look(file, max_pixels),
            Self::Exr => exr::look(file, max_pixels),
            Self::Hdr => hdr::look(file, max_pixels),
            Self::Npy => npy::look(file, max_pixels),
            Self::Safetensors => safetensor::look(file, length, max_pixels),
        }
    }

    /// The image in a file that `look` has found within the limits.
    pub(super) fn decode(self, bytes: &[u8], max_pixels: u64) -> Result<Image> {
        Ok(match self {
            Self::Png => Image::Picture(png::decode(bytes)?),
            Self::Jpeg => Image::Picture(jpeg::decode(bytes)?),
            Self::WebP => Image::Picture(webp::decode(bytes, max_pixels)?),
            Self::Tiff => Image::Picture(tiff::decode(bytes, max_pixels)?),
            Self::Bmp => Image::Picture(bmp::decode(bytes)?),
            Self::Pnm => Image::Picture(pnm::decode(bytes)?),
            Self::Exr => Image::Picture(exr::decode(bytes, max_pixels)?),
            Self::Hdr => Image::Picture(hdr::decode(bytes)?),
            Self::Npy => Image::Array(npy::decode(bytes, max_pixels)?),
            Self::Safetensors => Image::Array(safetensor::decode(bytes, max_pixels)?),
        })
    }
}
