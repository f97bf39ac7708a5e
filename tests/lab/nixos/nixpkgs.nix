# A stand-in for <nixpkgs/nixos>: the system of the flake beside it, with the `stamp` that the container's own configuration gives.
{ configuration ? import <nixos-config> }:
let
  args = { lib.mkDefault = x: x; config = { }; pkgs = { }; };
  c = configuration args;
  given = import (builtins.head c.imports);
  own = if builtins.isFunction given then given args else given;
  flake = (import /srv/flake/flake.nix).outputs { self = null; };
  system = flake.nixosConfigurations.${c.networking.hostName}.config.system.build.toplevel;
in {
  system = assert c.boot.isContainer && !c.networking.useDHCP; builtins.seq own derivation (system.drvAttrs // own);
}
