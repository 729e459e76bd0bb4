# Runs as the first process of new mount and process namespaces: what it mounts and starts ends
# with it. Arguments: the folder of the node, the programs, and the options of the kubelet.
folder=$1 containerd=$2 kubelet=$3
shift 3
mount --make-rshared /
# Fixed folders of both programs.
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
# The control group of the pods, in the only hierarchy of version 2 or in each one of version 1.
groups=/sys/fs/cgroup
if [ -e "$groups/cgroup.controllers" ]; then
    mkdir "$groups/${folder##*/}"
    for controller in $(cat "$groups/cgroup.controllers"); do
        echo "+$controller" >"$groups/cgroup.subtree_control" || true
    done
else
    for hierarchy in "$groups"/*/; do
        group=$hierarchy${folder##*/}
        # Two names of one hierarchy can have links.
        [ -d "$group" ] || mkdir "$group"
        for file in cpuset.mems cpuset.cpus; do
            [ ! -e "$group/$file" ] || cat "$hierarchy$file" >"$group/$file"
        done
    done
fi
"$containerd" --config "$folder/containerd.toml" >"$folder/containerd.log" 2>&1 &
"$kubelet" "$@" &
wait $!
