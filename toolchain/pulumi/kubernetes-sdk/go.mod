// What the Kubernetes plugin uses of Pulumi's typed SDK for Kubernetes, a package for each group of
// kinds, which would be two fifths of the build.
module github.com/pulumi/pulumi-kubernetes/sdk/v4

go 1.26.0

require github.com/pulumi/pulumi/sdk/v3 v3.215.0
