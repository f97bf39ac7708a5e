{ lib, stdenv, cmake, pkg-config, libyaml, libmnl, libnftnl, jansson, libgit2, libarchive
, libseccomp, nettle, glibc }:

stdenv.mkDerivation {
  pname = "berth";
  version = "0.1.0";
  # No argument: callPackage would fill `src` with the package of that name.
  src = ../..;

  nativeBuildInputs = [ cmake pkg-config ];
  buildInputs = [ libyaml libmnl libnftnl jansson libgit2 libarchive libseccomp nettle glibc.static ];
  cmakeFlags = [ "-DBUILD_TESTING=OFF" "-DBERTH_STATIC_LIBS=OFF" "-DCMAKE_BUILD_TYPE=RelWithDebInfo" ];

  meta = {
    description = "Makes a host look like a file: bridges, NAT and containers";
    license = lib.licenses.gpl2Plus;
    platforms = lib.platforms.linux;
    mainProgram = "berth";
  };
}
