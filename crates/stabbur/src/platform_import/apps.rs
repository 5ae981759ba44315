//! Applications' metadata and texts: from their sources' folders, or from a running Storage. What is here already stays.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use platform_storage::model::{TextResource, relaxed};
use platform_storage::rules::names::AppId;
use serde_json::{Map, Value};

use super::localtest::read_text;
use super::running::{Got, Source};
use super::{Import, is_of_one};

/// The apps that were named.
pub(super) fn names(apps: &[String]) -> Result<Vec<AppId>> {
    let apps: BTreeSet<&String> = apps.iter().collect();
    apps.into_iter()
        .map(|app| AppId::parse(app).with_context(|| format!("--app {app}: isn't like org/app")))
        .collect()
}

/// The metadata of apps, all of which there must be.
pub(super) async fn metadata(source: &Source, apps: &[AppId]) -> Result<Vec<Map<String, Value>>> {
    let mut all = Vec::with_capacity(apps.len());
    for app in apps {
        let got = source.json(&["applications", &app.org, &app.app], &[]).await?;
        match got {
            Got::There(answer) => match answer.value {
                Value::Object(object) => all.push(object),
                _ => bail!("the source's metadata of {app} is no object"),
            },
            Got::Refused(status, said) => bail!("the source answers {status} about the app {app}: {said}"),
        }
    }
    Ok(all)
}

/// Brings an app's metadata and texts.
pub(super) async fn from_storage(
    import: &mut Import<'_>,
    source: &Source,
    app: &AppId,
    object: Map<String, Value>,
    languages: &[String],
) -> Result<()> {
    let came = import
        .platform
        .import_application(object)
        .await
        .with_context(|| format!("the app {app}"))?;
    import.report.application(came);
    for language in languages {
        let path = ["applications", &app.org, &app.app, "texts", language];
        let what = format!("texts of {app} in {language}");
        match source.json(&path, &[]).await? {
            Got::There(answer) => keep_text(import, app, language, &what, answer.value).await?,
            Got::Refused(404, _) => {}
            Got::Refused(status, said) => {
                import
                    .report
                    .leave_out(&what, &format!("the source answers {status}: {said}"))?;
            }
        }
    }
    Ok(())
}

async fn keep_text(
    import: &mut Import<'_>,
    app: &AppId,
    language: &str,
    what: &str,
    value: Value,
) -> Result<()> {
    let text: Result<TextResource, _> = relaxed::from_value(value);
    let mut text = match text {
        Ok(text) => text,
        Err(error) => return import.report.leave_out(what, &format!("can't be read: {error}")),
    };
    language.clone_into(&mut text.language);
    match import.platform.import_text(app, text).await {
        Ok(came) => import.report.text(came),
        Err(error) if is_of_one(&error) => import.report.leave_out(what, &error.to_string())?,
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Brings the metadata and texts of apps whose sources are in these folders, or in folders of them.
pub(super) async fn from_folders(import: &mut Import<'_>, folders: &[PathBuf]) -> Result<()> {
    for folder in folders {
        let configs = configs(folder)?;
        if configs.is_empty() {
            bail!(
                "--app-folder {}: has no App/config/applicationmetadata.json, nor has a folder in it",
                folder.display()
            );
        }
        for config in configs {
            from_config(import, &config).await?;
        }
    }
    Ok(())
}

/// The folders with an app's configuration in or below a folder.
fn configs(folder: &Path) -> Result<Vec<PathBuf>> {
    let of = |folder: &Path| {
        let mut candidates = [folder.join("App").join("config"), folder.join("config")].into_iter();
        candidates.find(|config| config.join("applicationmetadata.json").is_file())
    };
    if let Some(config) = of(folder) {
        return Ok(vec![config]);
    }
    let mut found = Vec::new();
    let shown = || format!("--app-folder {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(shown)? {
        found.extend(of(&entry.with_context(shown)?.path()));
    }
    found.sort();
    Ok(found)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = read_text(path).map_err(|error| format!("{error:#}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("can't be read: {error}"))
}

async fn from_config(import: &mut Import<'_>, config: &Path) -> Result<()> {
    let path = config.join("applicationmetadata.json");
    let shown = path.display().to_string();
    let object: Map<String, Value> = match read_json(&path) {
        Ok(object) => object,
        Err(why) => return import.report.leave_out(&shown, &why),
    };
    let id = object
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("id"))
        .and_then(|(_, id)| AppId::parse(id.as_str()?));
    let Some(app) = id else {
        return import.report.leave_out(&shown, "its id isn't like org/app");
    };
    match import.platform.import_application(object).await {
        Ok(came) => import.report.application(came),
        Err(error) if is_of_one(&error) => return import.report.leave_out(&shown, &error.to_string()),
        Err(error) => return Err(error.into()),
    }
    let Ok(entries) = std::fs::read_dir(config.join("texts")) else {
        return Ok(());
    };
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()?;
    files.sort();
    for file in files {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let language = name
            .strip_prefix("resource.")
            .and_then(|rest| rest.strip_suffix(".json"));
        let Some(language) = language.map(str::to_owned) else {
            continue;
        };
        let what = file.display().to_string();
        match read_json(&file) {
            Ok(value) => keep_text(import, &app, &language, &what, value).await?,
            Err(why) => import.report.leave_out(&what, &why)?,
        }
    }
    Ok(())
}
