"""One valid NodePublishVolume request, as kubelet sends it for an inline volume; tests change one thing of it."""

from csi_driver.csi.pb import csi_pb2

REFERENCE = "registry.example.com/team/model:v1"
PREFIX = "model.csi.modelpack.org"


def publish_request() -> csi_pb2.NodePublishVolumeRequest:
    mode = csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER)
    return csi_pb2.NodePublishVolumeRequest(
        volume_id="csi-1f0c",
        target_path="/var/lib/kubelet/pods/9a7d/volumes/kubernetes.io~csi/model/mount",
        volume_capability=csi_pb2.VolumeCapability(mount=csi_pb2.VolumeCapability.MountVolume(), access_mode=mode),
        volume_context={
            "modelRef": REFERENCE,
            "csi.storage.k8s.io/pod.name": "server-0",
            "csi.storage.k8s.io/pod.namespace": "team-a",
            "csi.storage.k8s.io/pod.uid": "9a7d",
            "csi.storage.k8s.io/serviceAccount.name": "default",
            "csi.storage.k8s.io/ephemeral": "true",
        },
    )
