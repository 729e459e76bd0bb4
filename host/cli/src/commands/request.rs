//! `ampoule request`: prints the annotation that requests a secret, ready to be pasted below a
//! pod's `annotations:`.
//!
//! The command parses its output as the webhook does. It therefore rejects an invalid request with
//! the webhook's own message.

use std::process::ExitCode;

use ampoule_core::{RequestedSecret, SecretEntry, SecretRequest};
use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use super::output;
use crate::args::{RequestArgs, RequestOutput};

pub(crate) fn request(args: RequestArgs) -> anyhow::Result<ExitCode> {
    output::print(&annotation(args)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the annotation as YAML.
pub(super) fn annotation(args: RequestArgs) -> anyhow::Result<String> {
    let RequestArgs { group, key, group_version, env, file, index, output, .. } = args;
    ensure!(index.is_none() || output == RequestOutput::Flyte, "--index requires --output flyte");
    let containers = (!args.containers.is_empty()).then_some(args.containers);
    let (path, mode, optional, injector) = (args.path, args.mode, args.optional, args.injector);
    let fallback = args.fallback;
    let for_host = path.is_some() || mode.is_some() || optional.is_some() || injector.is_some() || fallback.is_some();
    let for_all = args.template.is_some() || args.all_keys || !args.options.is_empty() || containers.is_some();
    ensure!(
        output == RequestOutput::Ampoule || !(for_host || for_all),
        "Flyte's annotation has no --path, --mode, --optional, --container, --injector, --option, --all-keys, \
         --template and --fallback"
    );
    let entry = SecretEntry {
        group: args.template.is_none().then_some(group),
        template: args.template,
        key,
        keys: args.all_keys.then(|| "all".to_owned()),
        env_prefix: args.env_prefix,
        options: args.options.into_iter().collect(),
        version: group_version,
        env,
        file,
        path,
        mode,
        optional,
        containers,
        injector,
        fallback,
    };
    let (annotation, value) = entry.to_annotation();
    let for_authors = format!("{annotation}: |\n  {value}\n");
    let request = read_back(&for_authors)?;
    if output == RequestOutput::Ampoule {
        return Ok(for_authors);
    }
    let for_flyte = format!("flyte.secrets/s{}: {}\n", index.unwrap_or(0), request.to_flyte_annotation());
    ensure!(read_back(&for_flyte)? == request, "Flyte's annotation format cannot represent this secret");
    Ok(for_flyte)
}

fn read_back(yaml: &str) -> anyhow::Result<SecretRequest> {
    let annotations: Map<String, Value> = serde_saphyr::from_str(yaml)?;
    let requests = RequestedSecret::from_annotations(&annotations)?;
    Ok(requests.into_iter().next().context("the annotation requests no secret")?.request)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RequestArgs,
    }

    fn prints(words: &[&str]) -> Result<String, String> {
        let line = Line::try_parse_from([&["request"], words].concat()).map_err(|error| error.to_string())?;
        annotation(line.args).map_err(|error| format!("{error:#}"))
    }

    #[track_caller]
    fn check(words: &str, expected: Result<&str, &str>) {
        let words: Vec<_> = words.split(' ').collect();
        assert_eq!(prints(&words).as_deref().map_err(String::as_str), expected, "{words:?}");
    }

    #[test]
    fn prints_an_entry_for_pod_authors() {
        let key = "--group openai --key api-key";
        check(key, Ok("ampoule.dev/secrets: |\n  - {group: openai, key: api-key}\n"));
        check(&format!("{key} --env A"), Ok("ampoule.dev/secrets: |\n  - {group: openai, key: api-key, env: A}\n"));
        check(
            "--group tls --key ca.crt --group-version 7 --file -o ampoule",
            Ok("ampoule.dev/secrets: |\n  - {group: tls, key: ca.crt, version: \"7\", file: true}\n"),
        );
        check(
            "--group db --key password --env TF_VAR_db_password",
            Ok("ampoule.dev/secrets: |\n  - {group: db, key: password, env: TF_VAR_db_password}\n"),
        );
        check(
            "--group tls --key ca.crt --path /etc/tls/ --mode 0440 --optional --container app --container proxy --injector k8s",
            Ok(
                "ampoule.dev/secrets: |\n  - {group: tls, key: ca.crt, path: /etc/tls/, mode: \"0440\", optional: true, \
                containers: [app, proxy], injector: k8s}\n",
            ),
        );
        check(
            "--group db --all-keys --env-prefix DB_ --option region=eu --option a=b=c",
            Ok("ampoule.dev/secrets: |\n  - {group: db, keys: all, envPrefix: DB_, options: {a: b=c, region: eu}}\n"),
        );
        assert_eq!(
            prints(&["--template", "a {{ secret \"db\" \"k\" }}", "--path", "/etc/app/f"]).as_deref(),
            Ok("ampoule.dev/secrets: |\n  - {path: /etc/app/f, template: \"a {{ secret \\\"db\\\" \\\"k\\\" }}\"}\n")
        );
        check(
            &format!("{key} --optional=false"),
            Ok("ampoule.dev/secrets: |\n  - {group: openai, key: api-key, optional: false}\n"),
        );
        assert_eq!(
            prints(&["--key", "a: 'b'\n\u{85}\u{2028}# c", "--env", "A"]).unwrap().lines().count(),
            2,
            "an entry is one line, whatever characters it contains"
        );
    }

    #[test]
    fn prints_the_same_as_flytes_sdks() {
        check(
            "--key my_secret --env MY_SECRET -o flyte",
            Ok(
                "flyte.secrets/s0: nnsxsoraejwxsx2tmvrxezlueifg122vnz1f53tfof1ws3tfnvsw34b1ebcu3vs6kzavectfnz2f54tboi4caisnlfpvgrkdkjcviiqk\n",
            ),
        );
        check(
            "--group user-info --key user_secret --file -o flyte --index 12",
            Ok(
                "flyte.secrets/s12: m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau2lpovxhix2smvyxk1lsmvwwk2tuhiqemskmiufa\n",
            ),
        );
    }

    #[test]
    fn rejects_an_invalid_request_with_the_webhooks_message() {
        for output in ["flyte", "ampoule"] {
            check(
                &format!("--key k --env a=b -o {output}"),
                Err(
                    "annotation ampoule.dev/secrets[0].env: \"a=b\" must have printable ASCII characters other than = \
                     only",
                ),
            );
            check(
                &format!("--group tls --key ca.crt -o {output}"),
                Err(
                    "annotation ampoule.dev/secrets[0].env: is required, because the default \"TLS_CA.CRT\" (from group and key) does \
                     not match ^[A-Z_][A-Z0-9_]*$; set env, or set file: true",
                ),
            );
        }
        assert_eq!(
            prints(&["--key", ""]).unwrap_err(),
            "annotation ampoule.dev/secrets[0].key: is required; write keys: all for every key"
        );
        check("--key k --index 1", Err("--index requires --output flyte"));
        check(
            "--key k --env A --injector k8s -o flyte",
            Err(
                "Flyte's annotation has no --path, --mode, --optional, --container, --injector, --option, --all-keys, --template and --fallback",
            ),
        );
    }
}
