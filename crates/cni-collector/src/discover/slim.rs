//! Trimmed types for objects of Kubernetes, of which only the fields that are needed are decoded.

/// Makes a trimmed type stand for a kind: one of Kubernetes' own v1 kinds, or one of another group and version. Its field
/// `metadata` holds what was kept.
macro_rules! slim_resource {
    ($slim:ty, $scope:ty, $kind:literal, $plural:literal) => {
        $crate::discover::slim::slim_resource!($slim, $scope, $kind, "", "v1", $plural);
    };
    ($slim:ty, $scope:ty, $kind:literal, $group:expr, $version:expr, $plural:expr) => {
        impl kube::core::Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

pub(super) use slim_resource;
