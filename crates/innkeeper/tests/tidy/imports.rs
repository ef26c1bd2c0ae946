//! Who may import whom: the crates in their order, and what the inner ones may not know.

use std::path::PathBuf;

use serde_json::Value;

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    imports: Vec<Import>,
}

/// One thing that it is built with; not what only its tests use.
struct Import {
    name: String,
    features: Vec<String>,
    /// Whether it is a package of the workspace.
    is_ours: bool,
}

/// The arrows: what each crate is built on directly. What those are built on it may use too.
const BUILT_ON: [(&str, &[&str]); 13] = [
    ("innkeeper-macros", &[]),
    ("innkeeper", &["innkeeper-macros"]),
    ("innkeeper-cluster", &["innkeeper"]),
    ("innkeeper-etcd", &["innkeeper-cluster"]),
    ("innkeeper-api", &[]),
    ("innkeeper-server", &["innkeeper-cluster", "innkeeper-api"]),
    ("innkeeper-cli", &["innkeeper-server", "innkeeper-etcd", "innkeeper-api"]),
    ("innkeeper-sim", &["innkeeper-cluster", "innkeeper"]),
    ("innkeeper-bench", &["innkeeper-cli", "innkeeper-sim"]),
    ("innkeeper-examples", &["innkeeper"]),
    // The judge of a drill is built on nothing that is judged.
    ("innkeeper-judge", &[]),
    ("innkeeper-drill", &["innkeeper-etcd", "innkeeper-judge"]),
    ("xtask", &["innkeeper-cli"]),
];

const SERIALIZERS: [&str; 5] = ["serde", "serde_json", "postcard", "prost", "rmp-serde"];
const NETWORKS: [&str; 12] = [
    "axum",
    "h2",
    "hyper",
    "hyper-util",
    "mio",
    "quinn",
    "reqwest",
    "rustls",
    "socket2",
    "tokio-rustls",
    "tokio-tungstenite",
    "tonic",
];
const HTTP_AND_ETCD: [&str; 8] =
    ["axum", "etcd-client", "h2", "hyper", "hyper-util", "reqwest", "tokio-tungstenite", "tonic"];

/// The packages in the answer of `cargo metadata`.
pub(crate) fn packages(metadata: &Value) -> Vec<Package> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let imports = dependencies.filter(|dependency| dependency["kind"] != "dev");
            let imports = imports.map(|dependency| Import {
                name: text(&dependency["name"]),
                features: texts(&dependency["features"]),
                is_ours: dependency["path"].is_string(),
            });
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            Package {
                name: text(&package["name"]),
                folder: manifest.parent().map(PathBuf::from).unwrap_or_default(),
                imports: imports.collect(),
            }
        })
        .collect()
}

/// What a package imports and should not.
pub(crate) fn findings(package: &Package) -> Vec<String> {
    let (name, at) = (&package.name, package.folder.join("Cargo.toml"));
    let at = at.display();
    if !BUILT_ON.iter().any(|(known, _)| known == name) {
        return vec![format!("{at}:1: say in tests/tidy/imports.rs what {name} is built on")];
    }
    let mut findings = Vec::new();
    for import in &package.imports {
        let other = &import.name;
        if import.is_ours && !is_built_on(name, other) {
            findings.push(format!(
                "{at}:1: {name} imports {other}; imports go from the outside in: turn it round"
            ));
        }
        if let Some(what) = may_not_know(name, import) {
            findings.push(format!("{at}:1: {name} imports {other}; it is to know no {what}"));
        }
    }
    findings
}

fn is_built_on(name: &str, other: &str) -> bool {
    let direct = BUILT_ON.iter().find(|(package, _)| *package == name);
    let direct = direct.map_or(&[][..], |(_, direct)| direct);
    direct.iter().any(|next| *next == other || is_built_on(next, other))
}

fn may_not_know(name: &str, import: &Import) -> Option<&'static str> {
    let other = import.name.as_str();
    let tokio = |feature: &str| {
        other == "tokio" && import.features.iter().any(|on| on == feature || on == "full")
    };
    match name {
        "innkeeper" | "innkeeper-macros" if SERIALIZERS.contains(&other) => Some("serialization"),
        "innkeeper" | "innkeeper-macros" if NETWORKS.contains(&other) || tokio("net") => {
            Some("network")
        }
        "innkeeper-cluster" if HTTP_AND_ETCD.contains(&other) => Some("HTTP and no etcd"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, dependencies: Value) -> Package {
        let manifest = format!("/w/{name}/Cargo.toml");
        let package =
            json!({ "name": name, "manifest_path": manifest, "dependencies": dependencies });
        packages(&json!({ "packages": [package] })).remove(0)
    }

    fn ours(name: &str) -> Value {
        json!({ "name": name, "kind": null, "features": [], "path": format!("/w/{name}") })
    }

    #[test]
    fn an_import_against_the_direction_is_found() {
        assert_eq!(findings(&package("innkeeper", json!([ours("innkeeper-server")]))).len(), 1);
        assert_eq!(findings(&package("innkeeper-etcd", json!([ours("innkeeper-cli")]))).len(), 1);
    }

    #[test]
    fn an_import_that_skips_a_layer_is_none() {
        let imports = json!([ours("innkeeper"), ours("innkeeper-api")]);
        assert!(findings(&package("innkeeper-cli", imports)).is_empty());
    }

    #[test]
    fn a_package_that_has_no_place_is_found() {
        assert_eq!(findings(&package("innkeeper-utils", json!([]))).len(), 1);
    }

    #[test]
    fn a_core_that_serializes_or_speaks_to_the_network_is_found() {
        let serde = json!({ "name": "serde", "kind": null, "features": [] });
        let net = json!({ "name": "tokio", "kind": null, "features": ["rt", "net"] });
        let dev = json!({ "name": "serde_json", "kind": "dev", "features": [] });
        let rt = json!({ "name": "tokio", "kind": null, "features": ["rt", "time"] });
        assert_eq!(findings(&package("innkeeper", json!([serde, net, dev, rt]))).len(), 2);
    }

    #[test]
    fn a_cluster_that_knows_etcd_is_found() {
        let etcd = json!({ "name": "etcd-client", "kind": null, "features": [] });
        assert_eq!(findings(&package("innkeeper-cluster", json!([etcd.clone()]))).len(), 1);
        assert!(findings(&package("innkeeper-etcd", json!([etcd]))).is_empty());
    }
}
