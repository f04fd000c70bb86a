//! The calls by name.

use std::fmt;

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A call of the plugin protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* #[doc = concat!("`", $text, "`.")] $name,)*
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Method] = &[$(Method::$name,)*];

            /// Its name, which is the path of the request without the slash.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Method::$name => $text,)*
                }
            }
        }
    };
}

methods! {
    Activate = "Plugin.Activate",
    NetworkCapabilities = "NetworkDriver.GetCapabilities",
    GwAllocCheck = "NetworkDriver.GwAllocCheck",
    AllocateNetwork = "NetworkDriver.AllocateNetwork",
    FreeNetwork = "NetworkDriver.FreeNetwork",
    CreateNetwork = "NetworkDriver.CreateNetwork",
    DeleteNetwork = "NetworkDriver.DeleteNetwork",
    CreateEndpoint = "NetworkDriver.CreateEndpoint",
    DeleteEndpoint = "NetworkDriver.DeleteEndpoint",
    EndpointOperInfo = "NetworkDriver.EndpointOperInfo",
    Join = "NetworkDriver.Join",
    Leave = "NetworkDriver.Leave",
    DiscoverNew = "NetworkDriver.DiscoverNew",
    DiscoverDelete = "NetworkDriver.DiscoverDelete",
    ProgramExternalConnectivity = "NetworkDriver.ProgramExternalConnectivity",
    RevokeExternalConnectivity = "NetworkDriver.RevokeExternalConnectivity",
    IpamCapabilities = "IpamDriver.GetCapabilities",
    DefaultAddressSpaces = "IpamDriver.GetDefaultAddressSpaces",
    RequestPool = "IpamDriver.RequestPool",
    ReleasePool = "IpamDriver.ReleasePool",
    RequestAddress = "IpamDriver.RequestAddress",
    ReleaseAddress = "IpamDriver.ReleaseAddress",
}

impl Method {
    /// The call that a request's path names.
    pub fn from_path(path: &str) -> Option<Method> {
        let name = path.strip_prefix('/')?;
        Self::ALL.iter().copied().find(|method| method.name() == name)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
