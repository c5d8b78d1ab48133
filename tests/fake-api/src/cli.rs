//! The command line.

use std::path::PathBuf;

/// Printed when the command line is not understood.
pub const USAGE: &str = "\
usage: unshare -n fake-api serve [--port N] [--no-namespace-check]
       fake-api run [--claude PATH] [--trust DIR]... [--rules FILE] -- CMD [ARG]...";

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Cli {
    /// Serve, controlled by standard input.
    Serve {
        /// The port, 0 for any.
        port: u16,
        /// Do not look at the network interfaces, and leave `lo` as it is.
        anywhere: bool,
    },
    /// Enter a namespace, then `RunInside`.
    Run(RunArgs),
    /// Already in the namespace.
    RunInside(RunArgs),
    /// Print the usage.
    Help,
}

/// The arguments of `run`.
#[derive(Debug, Default, PartialEq)]
pub struct RunArgs {
    /// The real client.
    pub claude: Option<PathBuf>,
    /// Directories the client is to trust.
    pub trust: Vec<PathBuf>,
    /// Control lines to obey first.
    pub rules: Option<PathBuf>,
    /// The command; not empty.
    pub command: Vec<String>,
}

/// Reads the arguments, without the program's name.
pub fn parse(args: &[String]) -> Result<Cli, String> {
    match args.split_first() {
        Some((verb, rest)) if verb == "serve" => serve(rest),
        Some((verb, rest)) if verb == "run" => run(rest).map(Cli::Run),
        Some((verb, rest)) if verb == "run-inside" => run(rest).map(Cli::RunInside),
        Some((verb, _)) if verb == "--help" || verb == "-h" => Ok(Cli::Help),
        Some((verb, _)) => Err(format!("no such command: {verb}")),
        None => Err("a command is missing".into()),
    }
}

fn serve(args: &[String]) -> Result<Cli, String> {
    let (mut port, mut anywhere) = (0, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--no-namespace-check" => anywhere = true,
            "--port" => {
                port = value(arg, args.next())?
                    .parse()
                    .map_err(|_| "--port: not a port")?
            }
            _ => return Err(format!("serve: {arg} is not understood")),
        }
    }
    Ok(Cli::Serve { port, anywhere })
}

fn run(args: &[String]) -> Result<RunArgs, String> {
    let mut run = RunArgs::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--claude" => run.claude = Some(value(arg, args.next())?.into()),
            "--trust" => run.trust.push(value(arg, args.next())?.into()),
            "--rules" => run.rules = Some(value(arg, args.next())?.into()),
            "--" => run.command = args.by_ref().cloned().collect(),
            _ => {
                return Err(format!(
                    "run: {arg} is not understood (the command goes after --)"
                ));
            }
        }
    }
    if run.command.is_empty() {
        Err("run: the command is missing".into())
    } else {
        Ok(run)
    }
}

fn value<'a>(name: &str, value: Option<&'a String>) -> Result<&'a String, String> {
    value.ok_or_else(|| format!("{name} needs a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Cli, String> {
        parse(
            &line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn lines() {
        assert_eq!(
            of("serve --port 9"),
            Ok(Cli::Serve {
                port: 9,
                anywhere: false
            })
        );
        assert_eq!(
            of("serve --no-namespace-check"),
            Ok(Cli::Serve {
                port: 0,
                anywhere: true
            })
        );
        let Ok(Cli::Run(run)) = of("run --claude /c --trust /a --trust /b -- sh -c x") else {
            panic!("not a run");
        };
        assert_eq!(run.trust.len(), 2);
        assert_eq!(run.command, ["sh", "-c", "x"]);
        for wrong in [
            "",
            "x",
            "run",
            "run --",
            "run sh",
            "serve --port",
            "serve --port x",
            "serve x",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
