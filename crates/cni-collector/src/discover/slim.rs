//! Trimmed types for objects of Kubernetes, of which only the fields that are needed are decoded.

/// Makes a trimmed type stand for one of Kubernetes' own v1 kinds. Its field `metadata` holds what was kept.
macro_rules! slim_resource {
    ($slim:ty, $scope:ty, $kind:literal, $plural:literal) => {
        impl kube::core::Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                "".into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                "v1".into()
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
