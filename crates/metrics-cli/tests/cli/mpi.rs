//! `--mpi`, under `mpirun` where it is built in.

use crate::common::{assert_lines, compare, photograph};

#[cfg(not(feature = "mpi"))]
#[test]
fn a_build_without_mpi_says_how_to_get_it() {
    let photo = photograph("chelsea.png");
    let refused = compare(&photo, &photo, &["--mpi"]).code(2);
    assert_lines(&refused, 1, &["error: this image-metrics was built without MPI", "--features mpi"]);
}

#[cfg(feature = "mpi")]
mod ranks {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use anyhow::{Context, Result, ensure};
    use tempfile::TempDir;

    use super::*;
    use crate::common::{PROGRAM, corner, degraded, manifest, stdout};

    /// Two of them that start or end at once must not keep their sessions in one folder, which the first to end takes away.
    fn mpirun(sessions: &Path, ranks: usize) -> Command {
        let mut command = Command::new("mpirun");
        command.env("TMPDIR", sessions);
        // Containers have one user, and machines fewer cores than ranks.
        command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string(), PROGRAM, "compare"]);
        command
    }

    #[test]
    fn alone_it_is_a_group_of_one() {
        let photo = photograph("chelsea.png");
        let plain = stdout(&compare(&photo, &photo, &["--metrics", "psnr", "--json"]).success());
        assert_eq!(stdout(&compare(&photo, &photo, &["--metrics", "psnr", "--json", "--mpi"]).success()), plain);
        let refused = manifest(Path::new("-"), &["--mpi"]).code(2);
        assert_lines(&refused, 1, &["error: `--mpi` needs a manifest that every rank can read"]);
    }

    #[test]
    fn ranks_print_what_one_run_prints() -> Result<()> {
        let folder = TempDir::new()?;
        let list = list(folder.path(), 11)?;
        for format in ["--csv", "--ndjson", "--json"] {
            let options = ["--keep-going", format, "--fail-under", "ssim=0.999"];
            let one = manifest(Path::new(&list), &options).code(1);
            for ranks in [1, 2, 4] {
                let many = mpirun(folder.path(), ranks).arg(&list).args(options).arg("--mpi").output()?;
                let (text, errors) = (String::from_utf8(many.stdout)?, String::from_utf8_lossy(&many.stderr));
                assert_eq!(text, stdout(&one), "{ranks} ranks");
                assert_eq!(many.status.code(), Some(1));
                // Each once, from rank 0.
                for line in String::from_utf8_lossy(&one.get_output().stderr).lines() {
                    assert_eq!(errors.lines().filter(|other| *other == line).count(), 1, "{line}: {errors}");
                }
            }
        }
        Ok(())
    }

    /// Pairs of which one cannot be read.
    fn list(folder: &Path, pairs: usize) -> Result<String> {
        let image = corner(320, 240)?;
        image.save(folder.join("a.png"))?;
        degraded(&image).save(folder.join("b.png"))?;
        fs::write(folder.join("c.png"), "not a picture")?;
        let pair = |index| format!("a.png,{}.png,pair {index}\n", if index == 5 { "c" } else { ["b", "a"][index % 2] });
        let path = folder.join("list.csv");
        fs::write(&path, (0..pairs).map(pair).collect::<String>())?;
        Ok(path.display().to_string())
    }

    #[test]
    fn a_killed_rank_ends_all_and_a_new_run_goes_on() -> Result<()> {
        const RANKS: usize = 3;
        let folder = TempDir::new()?;
        let list = list(folder.path(), 1500)?;
        let [one, many, progress] =
            ["one", "many", "progress"].map(|name| folder.path().join(name).display().to_string());
        let options =
            |output| ["--keep-going", "--metrics", "psnr,ssim,ms-ssim", "--jobs", "1", "--ndjson", "--output", output];
        let mut ranks = mpirun(folder.path(), RANKS);
        ranks.arg(&list).args(options(&many)).args(["--mpi", "--resume", &progress]);

        let mut child = ranks.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let own: Vec<_> = (0..RANKS).map(|rank| folder.path().join(format!("progress.rank-{rank}"))).collect();
        let start = Instant::now();
        let done = |file: &Path| -> Result<u64> {
            let saved: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
            saved["counts"]["done"].as_u64().context("no count")
        };
        while !own.iter().all(|file| done(file).is_ok_and(|done| done > 0)) {
            ensure!(start.elapsed() < Duration::from_secs(120), "no progress comes");
            sleep(Duration::from_millis(5));
        }
        kill_rank(child.id(), 1)?;
        let killed = Instant::now();
        while child.try_wait()?.is_none() {
            ensure!(killed.elapsed() < Duration::from_secs(60), "the others do not end");
            sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains("exited on signal 9 (Killed)"), "{errors}");
        for file in &own {
            let done = done(file)?;
            assert!(0 < done && done < 500, "a rank was to be stopped in the middle, but it was at {done}");
        }

        ensure!(!ranks.status()?.success(), "one pair cannot be read");
        manifest(Path::new(&list), &options(&one)).code(1);
        assert!(fs::read(&many)? == fs::read(&one)?, "what was resumed is not what was not interrupted");
        Ok(())
    }

    /// Kills the process that `mpirun` has started as this rank.
    fn kill_rank(mpirun: u32, rank: usize) -> Result<()> {
        let is_rank = |process: &str| -> Option<bool> {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())?;
            let variables = fs::read(format!("/proc/{process}/environ")).ok()?;
            let wanted = format!("OMPI_COMM_WORLD_RANK={rank}");
            let named = variables.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes());
            Some(parent == mpirun && named)
        };
        let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let process = names.into_iter().find(|name| is_rank(name) == Some(true)).context("there is no such rank")?;
        ensure!(Command::new("kill").args(["-9", &process]).status()?.success());
        Ok(())
    }
}
