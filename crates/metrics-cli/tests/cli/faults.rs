//! Files that are wrong: one line names each, and the rest is scored.

use std::fs;
use std::path::Path;

use anyhow::Result;
use metrics_cli::fuzzing;
use tempfile::TempDir;

use crate::common::{assert_lines, compare, corner, degraded, json, manifest, photograph, stderr, stdout};
use crate::damage::repair_checksums;
use crate::seeds;

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A PNG of these sides, with next to nothing in it.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    for (kind, data) in [(b"IHDR", &header[..]), (b"IDAT", &[0x78, 0x9c, 0x63, 0, 0][..]), (b"IEND", &[])] {
        let chunk = [&kind[..], data].concat();
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(&chunk);
        png.extend(crc32(&chunk).to_be_bytes());
    }
    png
}

#[test]
fn each_fault_is_a_line_and_the_rest_is_scored() -> Result<()> {
    let folder = TempDir::new()?;
    let path = |name: &str| folder.path().join(name);
    let image = corner(64, 48)?;
    image.save(path("good.png"))?;
    degraded(&image).save(path("worse.png"))?;
    corner(64, 47)?.save(path("other.png"))?;
    let png = fs::read(path("good.png"))?;
    fs::write(path("empty.png"), "")?;
    fs::write(path("text.png"), "no picture")?;
    fs::write(path("truncated.png"), &png[..png.len() / 2])?;
    fs::write(path("bomb.png"), bomb(100_000, 100_000))?;
    image.save(path("good.jpg"))?;
    let jpeg = fs::read(path("good.jpg"))?;
    fs::write(path("cut.jpg"), &jpeg[..200])?;
    fs::write(
        path("huge.npy"),
        b"\x93NUMPY\x01\0\x41\0{'descr': '<f4', 'fortran_order': False, 'shape': (99999, 99999)}\n",
    )?;
    fs::write(path("short.safetensors"), [255; 9])?;
    fs::create_dir(path("folder.png"))?;
    let faults = [
        ("nobody.png", "cannot read"),
        ("empty.png", "the file is empty"),
        ("text.png", "format could not be determined"),
        ("truncated.png", "cannot read"),
        ("bomb.png", "100000×100000, 10000000000 pixels, but `--max-pixels` is 67108864"),
        ("cut.jpg", "cannot read"),
        ("huge.npy", "but `--max-pixels` is 67108864"),
        ("short.safetensors", "cannot read"),
        ("folder.png", "it is a folder"),
        ("other.png", "is 64×47"),
    ];
    let mut lines = String::from("good.png,good.png\n");
    for (file, _) in faults {
        lines.push_str(&format!("good.png,{file}\n"));
    }
    lines.push_str("good.png,worse.png\n");
    let list = path("list.csv");
    fs::write(&list, lines)?;

    let options = ["--metrics", "ssim", "--data-range", "1"];
    let assert = manifest(&list, &[&options[..], &["--keep-going", "--json"]].concat()).code(1);
    assert_lines(&assert, faults.len() + 1, &[]);
    for ((file, message), line) in faults.iter().zip(stderr(&assert).lines()) {
        assert!(line.starts_with("error: ") && line.contains(file) && line.contains(message), "{file}: {line}");
    }
    let summary = json(&assert)?;
    assert_eq!((&summary["scored"], &summary["failed"]), (&2.into(), &faults.len().into()), "{summary}");
    assert_eq!(summary["metrics"]["ssim"]["worst"]["pair"], "worse.png", "{summary}");

    // Without --keep-going, the first ends it, and what was scored before is printed.
    let assert = manifest(&list, &[&options[..], &["--csv"]].concat()).code(1);
    assert_lines(&assert, 1, &["nobody.png"]);
    assert!(stdout(&assert).contains("good.png,1,\n"), "{}", stdout(&assert));
    assert_eq!(stdout(&assert).lines().count(), 3, "{}", stdout(&assert));
    Ok(())
}

/// Where a run of bytes begins for the last time.
fn last(bytes: &[u8], run: &[u8]) -> usize {
    bytes.windows(run.len()).rposition(|window| window == run).unwrap_or(bytes.len())
}

/// A file whose bytes are changed, and what is said of it.
type Damage = (&'static str, fn(&mut Vec<u8>), &'static str);

const DAMAGE: &[Damage] = &[
    // libjpeg warns of each of these.
    ("restarts.jpg", |jpeg| jpeg.truncate(last(jpeg, b"\xff\xd1")), "no end marker"),
    (
        "restarts.jpg",
        |jpeg| {
            let at = last(jpeg, b"\xff\xd0");
            jpeg[at + 1] = 0xd4
        },
        "libjpeg warns",
    ),
    ("restarts.jpg", |jpeg| remove(jpeg, b"\xff\xd1"), "libjpeg warns"),
    ("420.jpg", |jpeg| drop(jpeg.splice(last(jpeg, b"\xff\xd9").., *b"\0\0\0\0\0\0\0\0\xff\xd9")), "libjpeg warns"),
    ("420.jpg", |jpeg| drop(jpeg.splice(jpeg.len() - 40.., *b"\xff\xd9")), "libjpeg warns"),
    // It does not warn of these: a file that ends between its scans.
    (
        "progressive.jpg",
        |jpeg| drop(jpeg.splice(last(jpeg, b"\xff\xda").., *b"\xff\xd9")),
        "some of its scans are missing",
    ),
    ("scans.jpg", |jpeg| drop(jpeg.splice(last(jpeg, b"\xff\xda").., *b"\xff\xd9")), "some of its scans are missing"),
    (
        "420.jpg",
        |jpeg| {
            let at = last(jpeg, b"\xff\xc0");
            jpeg[at + 4] = 12
        },
        "a JPEG file of 12 bits, expected 8",
    ),
    (
        "420.jpg",
        |jpeg| {
            let at = last(jpeg, b"\xff\xc0");
            jpeg[at + 1] = 0xc9
        },
        "arithmetic coding",
    ),
    (
        "cmyk.jpg",
        |jpeg| {
            let at = last(jpeg, b"Adobe");
            jpeg[at] = b'a'
        },
        "without Adobe's marker",
    ),
    ("rgb8.png", |png| png[29] ^= 1, "CRC error"),
    (
        "rgb8.png",
        |png| {
            let at = last(png, b"IEND");
            png[at - 9] ^= 1;
            repair_checksums(png)
        },
        "WrongChecksum",
    ),
    ("rgb8.png", |png| png.truncate(png.len() - 12), "the file is truncated"),
    (
        "rgb8.png",
        |png| {
            png[23] -= 1;
            repair_checksums(png)
        },
        "more than the pixels of its size",
    ),
    (
        "rgb8.png",
        |png| {
            png[23] += 1;
            repair_checksums(png)
        },
        "its pixels are truncated",
    ),
    (
        "palette4.png",
        |png| {
            png[36] = 6;
            png.drain(41 + 6..41 + 48);
            repair_checksums(png)
        },
        "a pixel has color 15 of 2",
    ),
    ("lossy.webp", |webp| webp.truncate(webp.len() - 9), "damaged or truncated"),
    ("animation.webp", |webp| webp[31] = b'X', "its animation has no header"),
    ("alpha.webp", |webp| webp.truncate(webp.len() / 2), "damaged or truncated"),
    (
        "rgb8_deflate.tif",
        |tiff| {
            let at = last(tiff, &checksum_of_strip(tiff));
            tiff[at] ^= 1
        },
        "its pixels are damaged",
    ),
    ("rgb8_lzw.tif", |tiff| set_tag(tiff, 0x103, 7), "compression ModernJPEG, expected none, LZW, Deflate or PackBits"),
    ("rgb8.bmp", |bmp| bmp.truncate(bmp.len() - 1), "the file is truncated: its pixels take"),
    ("palette.bmp", |bmp| bmp[46] = 3, "a pixel has color 15 of 3"),
    ("rgb8.ppm", |ppm| ppm.truncate(ppm.len() - 1), "740 of 741 bytes of pixels"),
    ("rgb8.ppm", |ppm| ppm.push(b'x'), "1 bytes follow its pixels"),
    ("hundred.pgm", |pgm| *pgm.last_mut().unwrap() = 101, "it has a sample of 101, expected at most 100"),
    ("text.ppm", |ppm| ppm.truncate(ppm.len() - 9), "the file is truncated"),
    ("flat.hdr", |hdr| hdr.truncate(hdr.len() - 1), "failed to fill whole buffer"),
    ("flat.hdr", |hdr| hdr.push(0), "1 bytes follow its pixels"),
    (
        "f32.tif",
        |tiff| {
            let at = u32::from_le_bytes([tiff[4], tiff[5], tiff[6], tiff[7]]) as usize;
            tiff[at + 2 + 12] = 0
        },
        "out of order",
    ),
    (
        "zip.exr",
        |exr| {
            let at = last(exr, b"displayWindow");
            exr[at + 28] = 99
        },
        "the display window",
    ),
    ("zip.exr", |exr| exr.truncate(exr.len() - 20), ""),
    ("f32.npy", |npy| npy.push(0), "1 bytes follow its numbers"),
    ("one.safetensors", |file| file.push(0), "bytes, expected"),
];

fn remove(bytes: &mut Vec<u8>, run: &[u8]) {
    let at = last(bytes, run);
    bytes.drain(at..at + run.len());
}

/// Sets a number in the first directory of a little-endian TIFF file.
fn set_tag(tiff: &mut [u8], tag: u16, value: u16) {
    let directory = u32::from_le_bytes([tiff[4], tiff[5], tiff[6], tiff[7]]) as usize;
    let entry = tiff[directory + 2..].chunks(12).position(|entry| entry[..2] == tag.to_le_bytes());
    let at = directory + 2 + 12 * entry.expect("the tag") + 8;
    tiff[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// The last bytes of the only strip of a little-endian TIFF file.
fn checksum_of_strip(tiff: &[u8]) -> Vec<u8> {
    tiff[tiff.len() - 4..].to_vec()
}

#[test]
fn each_kind_of_damage_is_told() -> Result<()> {
    for (name, damage, message) in DAMAGE {
        let mut bytes = fs::read(Path::new(seeds::FOLDER).join(name))?;
        fuzzing::numbers(&bytes)?;
        damage(&mut bytes);
        let error = format!("{:#}", fuzzing::numbers(&bytes).err().unwrap_or_else(|| panic!("{name}: {message}")));
        assert!(error.contains(message), "{name}: `{error}` instead of `{message}`");
    }
    Ok(())
}

/// What a decoder would take for these is decided by a few bytes of the file.
#[test]
fn memory_is_limited_for_all_jobs_together() -> Result<()> {
    let folder = TempDir::new()?;
    let (plain, small) = (folder.path().join("plain.png"), folder.path().join("small.png"));
    image::GrayImage::from_pixel(2048, 2048, image::Luma([7])).save(&plain)?;
    corner(32, 32)?.save(&small)?;
    assert!(fs::metadata(&plain)?.len() < 100_000);
    let list = folder.path().join("list.csv");
    fs::write(&list, "plain.png,plain.png\nsmall.png,small.png\n".repeat(4))?;
    let options = ["--metrics", "mae", "--jobs", "8", "--keep-going", "--json"];
    let all = manifest(&list, &[&options[..], &["--max-memory", "200"]].concat()).success();
    assert_eq!(json(&all)?["scored"], 8);
    let few = manifest(&list, &[&options[..], &["--max-memory", "20"]].concat()).code(1);
    assert_lines(&few, 5, &["plain.png: the pair takes up to 81 MiB of memory, but `--max-memory` is 20"]);
    assert_eq!(json(&few)?["scored"], 4);
    Ok(())
}

#[test]
fn pixels_are_limited() -> Result<()> {
    let chelsea = photograph("chelsea.png");
    compare(&chelsea, &chelsea, &["--metrics", "mae", "--max-pixels", "135300"]).success();
    let assert = compare(&chelsea, &chelsea, &["--max-pixels", "135299"]).code(1);
    assert_lines(&assert, 1, &["chelsea.png: it is 451×300, 135300 pixels, but `--max-pixels` is 135299"]);
    Ok(())
}

#[test]
fn pairs_of_two_sizes_can_be_left_out() -> Result<()> {
    let (chelsea, coffee) = (photograph("chelsea.png"), photograph("coffee.png"));
    let assert = compare(&chelsea, &coffee, &["--resize-mismatch", "skip", "--json"]).success();
    assert_lines(&assert, 2, &["note: left out: ", "is 451×300 but ", "no pair was compared: all were left out"]);
    assert_eq!((&json(&assert)?["skipped"], &json(&assert)?["scored"]), (&1.into(), &0.into()));
    Ok(())
}

#[test]
fn images_too_small_for_ms_ssim_have_none() -> Result<()> {
    let folder = TempDir::new()?;
    corner(64, 48)?.save(folder.path().join("small.png"))?;
    let list = folder.path().join("list.csv");
    let chelsea = photograph("chelsea.png");
    fs::write(&list, format!("small.png,small.png\n{0},{0}\n", chelsea.display()))?;
    let assert = manifest(&list, &["--json"]).success();
    assert_lines(&assert, 1, &["note: ms_ssim is left out of 1 of 2 pairs: sides of less than 176 pixels"]);
    let metrics = &json(&assert)?["metrics"];
    assert_eq!((&metrics["ssim"]["count"], &metrics["ms_ssim"]["count"]), (&2.into(), &1.into()), "{metrics}");
    let lines = stdout(&manifest(&list, &["--csv", "--metrics", "ssim,ms-ssim"]).success());
    assert!(lines.contains("small.png,1,,\n"), "{lines}");
    Ok(())
}

/// Root may read everything, so root has somebody else run the program, from a folder that everybody can reach.
#[cfg(unix)]
#[test]
fn files_that_may_not_be_read_are_named() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use crate::common::PROGRAM;

    const NOBODY: u32 = 65534;
    let folder = TempDir::new()?;
    let [program, open, secret] = ["program", "open.png", "secret.png"].map(|name| folder.path().join(name));
    fs::copy(PROGRAM, &program)?;
    corner(32, 32)?.save(&open)?;
    corner(32, 32)?.save(&secret)?;
    for (path, mode) in [(folder.path(), 0o755), (&program, 0o755), (&open, 0o644), (&secret, 0o000)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let compare = |test: &Path| {
        let mut command = Command::new(&program);
        command.arg("compare").args([&open, test]).args(["--metrics", "ssim"]).current_dir(folder.path());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.output()
    };
    let allowed = compare(&open)?;
    assert!(allowed.status.success(), "{}", String::from_utf8_lossy(&allowed.stderr));
    let refused = compare(&secret)?;
    let message = String::from_utf8(refused.stderr)?;
    assert_eq!((refused.status.code(), message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains("secret.png: Permission denied"), "{message}");
    Ok(())
}

/// A run that waits for somebody to write to a pipe would never end.
#[cfg(unix)]
#[test]
fn what_is_not_a_regular_file_is_an_error() -> Result<()> {
    use std::process::Command;
    use std::time::Duration;

    use crate::common::PROGRAM;

    let folder = TempDir::new()?;
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for side in [&a, &b] {
        fs::create_dir(side)?;
        corner(32, 32)?.save(side.join("good.png"))?;
        assert!(Command::new("mkfifo").arg(side.join("pipe.png")).status()?.success());
    }
    let run = |files: [&Path; 2]| {
        let mut command = assert_cmd::Command::new(PROGRAM);
        command.arg("compare").args(files).args(["--metrics", "ssim", "--keep-going", "--json"]);
        command.timeout(Duration::from_secs(60)).assert().code(1)
    };
    let assert = run([&a, &b]);
    assert_lines(&assert, 2, &["pipe.png: it is not a regular file"]);
    assert_eq!(json(&assert)?["scored"], 1);
    assert_lines(&run([&a.join("good.png"), Path::new("/dev/stdin")]), 2, &["/dev/stdin: it is not a regular file"]);

    // Of links to nothing, those count that images would count by.
    for side in [&a, &b] {
        fs::remove_file(side.join("pipe.png"))?;
        std::os::unix::fs::symlink("nothing", side.join(".lock"))?;
    }
    compare(&a, &b, &["--metrics", "ssim"]).success();
    std::os::unix::fs::symlink("nothing", a.join("gone.png"))?;
    assert_lines(&compare(&a, &b, &["--metrics", "ssim"]).code(1), 1, &["gone.png"]);
    Ok(())
}
