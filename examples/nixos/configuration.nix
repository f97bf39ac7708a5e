# What all containers share. Addresses and the default route come from berth; names come from the same spec.
{ lib, options, host, name, ... }:

let
  address = c: builtins.head (lib.toList (if builtins.isAttrs c then c.address else c));
  bare = a: builtins.head (lib.splitString "/" a);
in
lib.mkMerge [
  {
    boot.isContainer = true;
    networking = {
      hostName = name;
      useDHCP = false;
      useHostResolvConf = lib.mkForce false;
      nameservers = host.nameservers or [ "9.9.9.9" ];
      hosts = lib.mapAttrs' (other: c: lib.nameValuePair (bare (address c)) [ other ]) host.containers;
      firewall.allowedTCPPorts = [ 80 ];
    };
    services.nginx.enable = name == "container1";
    system.stateVersion = "25.11";
  }
  # Since 25.11 nixos-container refuses a flake that does not say this.
  (lib.optionalAttrs (options.boot ? isNspawnContainer) { boot.isNspawnContainer = true; })
]
