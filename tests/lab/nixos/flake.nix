# Systems without nixpkgs: busybox, an init, a switch. `hosts` are the names that NixOS would write from networking.hosts; `stamp` makes
# one system differ from another.
{
  outputs = { self }:
    let
      spec = builtins.fromJSON (builtins.readFile ./berth.json);
      containers = (builtins.head (builtins.attrValues spec.hosts)).containers;
      address = c: if builtins.isString c then c else c.address;
      hosts = builtins.concatStringsSep "\n" (map (n: "${address containers.${n}} ${n}") (builtins.attrNames containers));
      stamp = builtins.readFile ./stamp;
      system = name: derivation {
        inherit name hosts stamp;
        system = "x86_64-linux";
        builder = "/bin/busybox";
        script = ''
          set -e
          b=/bin/busybox
          [ "$stamp" != broken ] || { echo "this system does not build" >&2; exit 1; }
          $b mkdir -p $out/bin $out/sw/bin
          $b cp $b $out/sw/bin/busybox
          for a in sh ping nslookup cat sleep ls id env hostname ip su; do $b ln -s busybox $out/sw/bin/$a; done
          $b printf '127.0.0.1 localhost\n%s\n' "$hosts" >$out/hosts
          $b printf '%s' "$stamp" >$out/stamp
          $b printf '#!%s/sw/bin/sh\nb=%s/sw/bin/busybox\n$b mkdir -p /run /etc /bin\n$b ln -sfn %s /run/current-system\n$b ln -sf %s/sw/bin/sh /bin/sh\n$b cp -f %s/hosts /etc/hosts\n[ -e /etc/passwd ] || echo root:x:0:0::/root:/bin/sh >/etc/passwd\n' \
            $out $out $out $out $out >$out/activate
          $b printf '#!%s/sw/bin/sh\n. %s/activate\necho system %s is up\n: >/.ready\ntrap "exit 0" TERM\nwhile :; do %s/sw/bin/sleep 3600 & wait $!; done\n' $out $out "$stamp" $out >$out/init
          $b printf '#!%s/sw/bin/sh\n. %s/activate\n[ ! -e /refuse-switch ] || { echo starting units; echo "the switch says no: $(/run/current-system/sw/bin/cat /run/current-system/stamp)"; echo "warning: web.service failed" >&2; exit 4; }\n' $out $out >$out/bin/switch-to-configuration
          $b chmod 755 $out/init $out/bin/switch-to-configuration
        '';
        args = [ "sh" "-c" ''eval "$script"'' ];
      };
    in {
      nixosConfigurations = builtins.mapAttrs (n: _: {
        config = { system.build.toplevel = system n; } // (if stamp == "unmarked" then { boot.isNspawnContainer = false; } else { });
      }) containers;
    };
}
