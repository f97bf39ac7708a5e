# A system for each container that berth.json names: adding one is a line there, and nothing here.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = { nixpkgs, ... }:
    let
      spec = builtins.fromJSON (builtins.readFile ./berth.json);
      host = spec.hosts.homelab;
      system = name: nixpkgs.lib.nixosSystem {
        system = "x86_64-linux";
        specialArgs = { inherit host name; };
        modules = [ ./configuration.nix ];
      };
    in {
      nixosConfigurations = builtins.mapAttrs (name: _: system name) host.containers;
    };
}
