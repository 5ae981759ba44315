//! Links in answers, built from a setting or from where the request came to; never from what is
//! stored.

use crate::Settings;
use crate::model::{DataElement, Instance, ResourceLinks};

/// The path of the API.
pub(crate) const BASE_PATH: &str = "/storage/api/v1";

/// The addresses that links begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Links {
    platform: String,
    apps: String,
}

impl Links {
    /// For a request that came to `origin` (`scheme://host`).
    pub(crate) fn new(settings: &Settings, origin: &str) -> Self {
        let or_origin = |url: &Option<String>| url.clone().unwrap_or_else(|| origin.to_owned());
        Self {
            platform: or_origin(&settings.platform_url),
            apps: or_origin(&settings.apps_url),
        }
    }

    /// The API's own address.
    pub(crate) fn storage(&self) -> String {
        format!("{}{BASE_PATH}", self.platform)
    }

    fn of(&self, instance: &Instance, tail: &str) -> ResourceLinks {
        let apps = self.apps.replace("{org}", &instance.org);
        let id = &instance.id;
        ResourceLinks {
            apps: Some(format!("{apps}/{}/instances/{id}{tail}", instance.app_id)),
            platform: Some(format!("{}/instances/{id}{tail}", self.storage())),
        }
    }

    /// The instance as it is sent: its id with the party, and links.
    pub(crate) fn instance(&self, mut instance: Instance) -> Instance {
        instance.id = wire_id(&instance);
        instance.instance_version = None;
        instance.process_state_version = None;
        instance.self_links = Some(self.of(&instance, ""));
        let elements = instance.data.take();
        instance.data = elements.map(|elements| {
            elements
                .into_iter()
                .map(|element| self.element(&instance, element))
                .collect()
        });
        instance
    }

    /// An element of `instance` as it is sent.
    pub(crate) fn element(&self, instance: &Instance, mut element: DataElement) -> DataElement {
        let id = wire_id(instance);
        let named = Instance {
            id,
            app_id: instance.app_id.clone(),
            org: instance.org.clone(),
            ..Instance::default()
        };
        element.content_replaced = false;
        element.self_links = Some(self.of(&named, &format!("/data/{}", element.id)));
        element
    }
}

fn wire_id(instance: &Instance) -> String {
    match instance.guid() {
        Some(guid) if !instance.party().is_empty() => format!("{}/{guid}", instance.party()),
        _ => instance.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_built_from_settings_or_the_request() {
        let mut settings = Settings {
            documents_account: String::new(),
            blobs_account: String::new(),
            environment: String::new(),
            platform_url: None,
            apps_url: None,
            scans: false,
            refuse_infected: false,
            portal_sync: false,
        };
        let instance = Instance {
            id: "00000000-0000-0000-0000-000000000007".to_owned(),
            app_id: "ttd/a".to_owned(),
            org: "ttd".to_owned(),
            instance_owner: crate::model::InstanceOwner {
                party_id: Some("50".to_owned()),
                ..crate::model::InstanceOwner::default()
            },
            ..Instance::default()
        };
        let tail = "/instances/50/00000000-0000-0000-0000-000000000007";
        let sent = Links::new(&settings, "http://127.0.0.1:5101").instance(instance.clone());
        assert_eq!(sent.id, "50/00000000-0000-0000-0000-000000000007");
        let links = sent.self_links.unwrap();
        assert_eq!(links.apps.unwrap(), format!("http://127.0.0.1:5101/ttd/a{tail}"));
        assert_eq!(
            links.platform.unwrap(),
            format!("http://127.0.0.1:5101/storage/api/v1{tail}")
        );
        settings.platform_url = Some("https://platform.example.org".to_owned());
        settings.apps_url = Some("https://{org}.apps.example.org".to_owned());
        let links = Links::new(&settings, "http://127.0.0.1:5101");
        let element = DataElement {
            id: "e".to_owned(),
            ..DataElement::default()
        };
        let sent = links.element(&instance, element).self_links.unwrap();
        assert_eq!(
            sent.apps.unwrap(),
            format!("https://ttd.apps.example.org/ttd/a{tail}/data/e")
        );
        assert_eq!(
            sent.platform.unwrap(),
            format!("https://platform.example.org/storage/api/v1{tail}/data/e")
        );
    }
}
