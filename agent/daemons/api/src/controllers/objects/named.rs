//! Requests that only name an object, or only say which of a kind.

use std::marker::PhantomData;

use sf_model::name;

use super::Kind;
use crate::input::{Input, Request};
use crate::params::{Fault, boolean, reference, text_of};

/// An object, perhaps of one namespace.
pub struct Named<K> {
    /// UUID or name.
    pub reference: String,
    /// The namespace it must be in.
    pub namespace: Option<String>,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Named<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let namespace = input.fields.blankable("namespace", text_of(name::namespace))?;
        Ok(Self { reference: Plain::<K>::read(input)?.reference, namespace, kind: PhantomData })
    }
}

/// An object on a route without other parameters.
pub struct Plain<K> {
    /// UUID or name, or whatever the kind accepts.
    pub reference: String,
    kind: PhantomData<K>,
}

impl<K: Kind> Request for Plain<K> {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(K::PARAMETER, K::parse)?, kind: PhantomData })
    }
}

/// A list, with or without what is deleted.
#[derive(Debug, Clone, Copy)]
pub struct All {
    /// Deleted ones too.
    pub all: bool,
}

impl Request for All {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { all: input.fields.or("all", false, boolean)? })
    }
}

/// A list, perhaps only of what is on one node.
#[derive(Debug, Clone)]
pub struct OnNode {
    /// Name or UUID of the node.
    pub node: Option<String>,
}

impl Request for OnNode {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { node: input.fields.blankable("node", reference)? })
    }
}
