//! NumPy's .npy files, as its format specification 1.0 to 3.0 describes them.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Tensor;

use super::Look;
use super::array::{Arrangement, Stored};

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// The header of an array that NumPy writes fits 128 bytes; one of many fields may be longer, but holds no image.
const LONGEST_HEADER: usize = 1 << 14;

pub(super) fn look(file: &mut impl Read, max_pixels: u64) -> Result<Look> {
    let (stored, arrangement) = begin(file, max_pixels)?;
    Ok(arrangement.look(stored))
}

/// An array as `[N, C, H, W]`.
pub(super) fn decode(mut bytes: &[u8], max_pixels: u64) -> Result<Tensor> {
    let (stored, arrangement) = begin(&mut bytes, max_pixels)?;
    let expected = arrangement.numbers.checked_mul(stored.size()).context("the array is too large")?;
    let numbers = bytes
        .get(..expected)
        .with_context(|| format!("the file is truncated: {} of {expected} bytes of numbers", bytes.len()))?;
    let rest = &bytes[expected..];
    // NumPy may have saved several arrays in one file.
    ensure!(rest.is_empty() || rest.starts_with(MAGIC), "{} bytes follow its numbers", rest.len());
    arrangement.tensor(stored.numbers(numbers))
}

fn begin(file: &mut impl Read, max_pixels: u64) -> Result<(Stored, Arrangement)> {
    let header = header(file)?;
    let (stored, shape) = parse(&header).with_context(|| format!("in the .npy header {header:?}"))?;
    Ok((stored, Arrangement::of(&shape, max_pixels)?))
}

fn header(file: &mut impl Read) -> Result<String> {
    let mut start = [0; 8];
    file.read_exact(&mut start).context("the file is truncated")?;
    ensure!(start.starts_with(MAGIC), "it does not start as a .npy file does");
    ensure!(start[7] == 0, "it has version {}.{} of the .npy format, expected 1.0 to 3.0", start[6], start[7]);
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            file.read_exact(&mut length).context("the file is truncated")?;
            u16::from_le_bytes(length).into()
        }
        2 | 3 => {
            let mut length = [0; 4];
            file.read_exact(&mut length).context("the file is truncated")?;
            u32::from_le_bytes(length) as usize
        }
        version => bail!("it has version {version} of the .npy format, expected 1 to 3"),
    };
    ensure!(length <= LONGEST_HEADER, "its header has {length} bytes, expected at most {LONGEST_HEADER}");
    let mut header = vec![0; length];
    file.read_exact(&mut header).context("the file is truncated")?;
    String::from_utf8(header).context("the header is not text")
}

/// The dtype and shape of a header such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8, 8), }`, which has nothing else.
fn parse(header: &str) -> Result<(Stored, Vec<usize>)> {
    let dict = header.trim_end_matches([' ', '\n']).strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = dict.context("it is not a dictionary")?.trim();
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').context("it is not a dictionary")?;
        let after = after.trim_start();
        let end = if after.starts_with('(') { after.find(')').map(|end| end + 1) } else { after.find(',') };
        let (value, after) = after.split_at(end.unwrap_or(after.len()));
        let field = match key {
            "'descr'" => &mut descr,
            "'fortran_order'" => &mut fortran,
            "'shape'" => &mut shape,
            key => bail!("there is {key}"),
        };
        ensure!(field.replace(value.trim_end()).is_none(), "there are two {key}");
        let after = after.trim_start();
        rest = after.strip_prefix(',').or(after.is_empty().then_some("")).context("a comma is missing")?.trim_start();
    }
    let stored = stored(descr.context("there is no 'descr'")?)?;
    match fortran.context("there is no 'fortran_order'")? {
        "False" => {}
        "True" => bail!("it is in Fortran order; save `numpy.ascontiguousarray(array)` instead"),
        other => bail!("'fortran_order' is {other}"),
    }
    let shape = shape.and_then(|shape: &str| shape.strip_prefix('(')?.strip_suffix(')'));
    let shape = shape.context("'shape' is not a tuple")?.trim();
    let sides = shape.strip_suffix(',').unwrap_or(shape).split(',').map(str::trim);
    let shape = sides.map(|side| side.parse().with_context(|| format!("`{side}` in 'shape' is not a length")));
    Ok((stored, shape.collect::<Result<_>>()?))
}

fn stored(descr: &str) -> Result<Stored> {
    let name = descr.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    Ok(match name.context("'descr' is not the name of one number type")? {
        "|u1" | "<u1" => Stored::U8,
        "<u2" => Stored::U16,
        "<f2" => Stored::F16,
        "<f4" => Stored::F32,
        "<f8" => Stored::F64,
        name => bail!("its dtype is '{name}', expected '|u1', '<u2', '<f2', '<f4' or '<f8'"),
    })
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
    }

    fn error(header: &str, data: &[u8]) -> String {
        format!("{:#}", decode(&file(header, data)[..], 100).unwrap_err())
    }

    #[test]
    fn channels_may_come_first_or_last() -> Result<()> {
        let last = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 3), }\n";
        let tensor = decode(&file(last, &[1, 2, 3, 4, 5, 6])[..], 100)?;
        assert_eq!(tensor.dims(), [1, 3, 1, 2]);
        assert_eq!(tensor.flatten_all()?.to_vec1::<f32>()?, [1., 4., 2., 5., 3., 6.]);
        let first = "{'descr': '<u2', 'fortran_order': False, 'shape': (1, 2, 5), }";
        assert_eq!(decode(&file(first, &[0; 20])[..], 100)?.dims(), [1, 1, 2, 5]);
        let grey = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 5), }";
        assert_eq!(decode(&file(grey, &[0; 80])[..], 100)?.dtype(), DType::F64);
        Ok(())
    }

    #[test]
    fn faults_are_told() {
        let whole = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
        assert!(error(whole, &[0; 15]).contains("truncated: 15 of 16 bytes"), "{}", error(whole, &[0; 15]));
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999), }";
        assert!(error(huge, &[]).contains("`--max-pixels` is 100"), "{}", error(huge, &[]));
        let overflow = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296), }";
        assert!(error(overflow, &[]).contains("`--max-pixels`"), "{}", error(overflow, &[]));
        let fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }";
        assert!(error(fortran, &[0; 16]).contains("ascontiguousarray"));
        let big_endian = "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2), }";
        assert!(error(big_endian, &[0; 16]).contains("its dtype is '>f4'"));
        let line = "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }";
        assert!(error(line, &[0; 16]).contains("the array is [4]"));
        assert!(format!("{:#}", decode(b"\x93NUMP", 100).unwrap_err()).contains("truncated"));
    }
}
