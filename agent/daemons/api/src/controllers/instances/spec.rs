//! What a new instance is asked to be, read and checked as far as that needs no look-up.

use serde_json::{Map, Value};
use sf_config::ClusterConfig;
use sf_model::affinity::{Affinity, parse_tags};
use sf_model::disk::{ConfigDrive, SideChannel};
use sf_model::{ObjectType, name};
use sf_protos::common::MetadataEntry;

use crate::controllers::objects::set_metadata;
use crate::input::{Input, Request};
use crate::params::{
    DiskSpec, Fault, Fields, NetworkSpec, VideoSpec, base64, boolean, choice, disk_spec, list, map, nested,
    network_spec, reference, string, text_of, uint_in, video_spec,
};

/// Disks, and interfaces, an instance can have.
const MOST_DEVICES: usize = 24;
/// Bytes of user data, decoded.
const MAX_USER_DATA: usize = 3 << 20;
/// Bytes of SSH keys.
const MAX_SSH_KEY: usize = 64 * 1024;
/// Bytes of all metadata as JSON.
const MAX_METADATA: usize = 256 * 1024;
/// Keys of metadata.
const MAX_METADATA_KEYS: usize = 1024;

/// A new instance as asked for.
pub struct Create {
    pub(super) name: String,
    pub(super) cpus: u32,
    pub(super) memory_mb: u64,
    pub(super) disks: Vec<DiskSpec>,
    pub(super) networks: Vec<NetworkSpec>,
    pub(super) ssh_key: Option<String>,
    pub(super) user_data: Option<String>,
    pub(super) placed_on: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) video: VideoSpec,
    pub(super) uefi: bool,
    pub(super) secure_boot: bool,
    pub(super) configdrive: ConfigDrive,
    pub(super) nvram_template: Option<String>,
    pub(super) metadata: Vec<MetadataEntry>,
    pub(super) tags: Vec<String>,
    pub(super) affinity: Affinity,
    pub(super) side_channels: Vec<String>,
}

impl Request for Create {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let limits = Limits::of(input.cluster());
        let fields = &mut input.fields;
        let create = Self {
            name: fields.required("name", text_of(name::instance))?,
            cpus: u32::try_from(fields.required("cpus", uint_in(1..=u64::from(limits.cpus)))?).unwrap_or(1),
            memory_mb: fields.required("memory", uint_in(1..=limits.memory_mb))?,
            disks: fields.required("disk", list(1..=MOST_DEVICES, nested(disk_spec(limits.disk_gb))))?,
            networks: fields
                .optional("network", list(0..=MOST_DEVICES, nested(network_spec)))?
                .unwrap_or_default(),
            ssh_key: fields.blankable("ssh_key", ssh_key)?,
            user_data: fields.blankable("user_data", base64(MAX_USER_DATA))?,
            placed_on: fields.blankable("placed_on", reference)?,
            namespace: fields.blankable("namespace", text_of(name::namespace))?,
            video: fields.optional("video", nested(video_spec))?.unwrap_or_default(),
            uefi: fields.or("uefi", false, boolean)?,
            secure_boot: fields.or("secure_boot", false, boolean)?,
            configdrive: fields
                .blankable("configdrive", choice("must be openstack-disk or none"))?
                .unwrap_or(ConfigDrive::OpenstackDisk),
            nvram_template: fields.blankable("nvram_template", nvram_template)?,
            side_channels: fields.optional("side_channels", side_channels)?.unwrap_or_else(default_channels),
            metadata: Vec::new(),
            tags: Vec::new(),
            affinity: Affinity::default(),
        };
        create.check(limits.disk_gb)?.with_metadata(fields)
    }
}

/// Upper bounds of a request, beyond which no node of any cluster goes.
struct Limits {
    cpus: u32,
    memory_mb: u64,
    disk_gb: u64,
}

impl Limits {
    fn of(cluster: &ClusterConfig) -> Self {
        // A larger request is a mistake of units rather than a wish; the largest machines have a few thousand threads.
        Self { cpus: 4096, memory_mb: 64 << 20, disk_gb: cluster.instance_max_disk_gb }
    }
}

impl Create {
    /// Rules between fields.
    fn check(self, most_disk_gb: u64) -> Result<Self, Fault> {
        if self.secure_boot && !self.uefi {
            return Err(Fault::new("requires uefi").at("secure_boot"));
        }
        if self.nvram_template.is_some() && !self.uefi {
            return Err(Fault::new("requires uefi").at("nvram_template"));
        }
        let total = self.disks.iter().filter_map(|disk| disk.size).fold(0_u64, u64::saturating_add);
        if total > most_disk_gb {
            return Err(Fault::new(format!("must be at most {most_disk_gb} GiB together")).at("disk"));
        }
        Ok(self)
    }

    fn with_metadata(mut self, fields: &mut Fields) -> Result<Self, Fault> {
        let metadata = fields.optional("metadata", map)?.unwrap_or_default();
        let parsed = entries(&metadata).map_err(|fault| fault.at("metadata"))?;
        if let Some(tags) = metadata.get("tags") {
            self.tags = parse_tags(tags).map_err(|error| Fault::new(error.to_string()).at("metadata"))?;
        }
        if let Some(affinity) = metadata.get("affinity") {
            self.affinity =
                Affinity::parse(affinity).map_err(|error| Fault::new(error.to_string()).at("metadata"))?;
        }
        self.metadata = parsed;
        Ok(self)
    }
}

fn entries(metadata: &Map<String, Value>) -> Result<Vec<MetadataEntry>, Fault> {
    if metadata.len() > MAX_METADATA_KEYS {
        return Err(Fault::new(format!("must have at most {MAX_METADATA_KEYS} keys")));
    }
    let mut total = 0;
    let mut entries = Vec::with_capacity(metadata.len());
    for (key, value) in metadata {
        name::metadata_key(key).map_err(|error| Fault::new(error.0).at(key))?;
        let value_json =
            set_metadata::checked(ObjectType::Instance, key, value).map_err(|fault| fault.at(key))?;
        total += key.len() + value_json.len();
        entries.push(MetadataEntry { key: key.clone(), value_json });
    }
    if total > MAX_METADATA {
        return Err(Fault::new(format!("must be at most {MAX_METADATA} bytes as JSON")));
    }
    Ok(entries)
}

fn ssh_key(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let fits = text.len() <= MAX_SSH_KEY && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\r');
    if fits { Ok(text) } else { Err(Fault::new("must be at most 64 KiB of text without control characters")) }
}

fn nvram_template(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let known = ["label:", "sf://blob/", "sf://label/"].iter().any(|prefix| text.starts_with(prefix));
    let fits = text.len() <= 2048 && !text.chars().any(char::is_control);
    if fits && (known || text.parse::<sf_model::BlobId>().is_ok()) {
        Ok(text)
    } else {
        Err(Fault::new(
            "must be label:<name>, sf://blob/<uuid>, sf://label/<namespace>/<name> or a blob UUID",
        ))
    }
}

fn side_channels(value: Value) -> Result<Vec<String>, Fault> {
    let channel = choice::<SideChannel>("must be sf-agent or sf-agent2");
    let channels = list(0..=8, channel)(value)?;
    Ok(channels.into_iter().map(|channel| channel.to_string()).collect())
}

fn default_channels() -> Vec<String> {
    vec![SideChannel::SfAgent.to_string(), SideChannel::SfAgent2.to_string()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use serde_json::json;

    fn read(change: Value) -> Result<Create, Fault> {
        let mut body =
            json!({"name": "web-1", "cpus": 1, "memory": "1024", "disk": [{"size": 8, "base": null}]});
        let Value::Object(change) = change else { panic!("an object") };
        body.as_object_mut().unwrap().extend(change);
        let Value::Object(body) = body else { panic!("an object") };
        let (cluster, _) = ClusterConfig::from_texts([]).unwrap();
        let mut input = Input::new(Vec::new(), Fields::new(body), None, Arc::new(cluster));
        let create = Create::read(&mut input)?;
        input.finish()?;
        Ok(create)
    }

    #[test]
    fn what_is_absent_gets_its_default() {
        let create = read(json!({"network": null, "namespace": "", "ssh_key": "", "video": null})).unwrap();
        assert_eq!(create.side_channels, ["sf-agent", "sf-agent2"]);
        assert_eq!((create.video.model.as_str(), create.configdrive), ("cirrus", ConfigDrive::OpenstackDisk));
        assert_eq!((create.memory_mb, create.networks.len(), create.namespace), (1024, 0, None));
        assert!(read(json!({"side_channels": []})).unwrap().side_channels.is_empty());
    }

    #[test]
    fn every_rule_names_its_field() {
        for (change, words) in [
            (json!({"name": "a.b"}), "name: must be"),
            (json!({"name": null}), "name: required"),
            (json!({"cpus": 0}), "cpus: must be between"),
            (json!({"memory": -1}), "memory: must be"),
            (json!({"disk": []}), "disk: must have 1 to 24 items"),
            (json!({"disk": [{"size": 8, "sise": 1}]}), "disk[0].sise: not declared"),
            (json!({"disk": [{"size": 8, "bus": "ide"}]}), "disk[0].bus: IDE disks are not supported"),
            (json!({"disk": [{"size": 65536}, {"size": 1}]}), "disk: must be at most"),
            (json!({"network": [{"address": "x"}]}), "network[0].network_uuid: required"),
            (json!({"video": {"model": "qxl"}}), "video.memory: required"),
            (json!({"secure_boot": true}), "secure_boot: requires uefi"),
            (json!({"nvram_template": "label:x"}), "nvram_template: requires uefi"),
            (json!({"uefi": true, "nvram_template": "http://x"}), "nvram_template: must be"),
            (json!({"configdrive": "floppy"}), "configdrive: must be"),
            (json!({"user_data": "*"}), "user_data: must be base64"),
            (json!({"side_channels": ["x"]}), "side_channels[0]: must be"),
            (
                json!({"metadata": {"affinity": {"a": null}}}),
                "metadata.affinity: affinity.a: must be an integer",
            ),
            (json!({"metadata": {"tags": "x"}}), "metadata.tags: tags: must be"),
            (json!({"ssh_key": "a\u{1}"}), "ssh_key: must be"),
            (json!({"colour": "red"}), "colour: not declared"),
        ] {
            let text = read(change.clone()).err().map(|fault| fault.to_string()).unwrap_or_default();
            assert!(text.starts_with(words), "{change}: {text}");
        }
    }

    #[test]
    fn placement_wishes_come_from_metadata() {
        let metadata =
            json!({"metadata": {"tags": ["web"], "affinity": {"require_without_tag": ["web"]}, "x": 1}});
        let create = read(metadata).unwrap();
        assert_eq!(create.tags, ["web"]);
        assert!(create.affinity.is_hard());
        assert_eq!(create.metadata.len(), 3);
    }
}
